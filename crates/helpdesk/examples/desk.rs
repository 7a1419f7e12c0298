//! Runs the helpdesk alone, to put behind a gateway: `cargo run -p remit-helpdesk --example desk -- 127.0.0.1:8430 [FILE [LOG]]`.

use remit_helpdesk::{Desk, DeskError, router};
use std::{error::Error, path::Path};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let address = arguments.next().unwrap_or_else(|| "127.0.0.1:8430".to_owned());
    let desk: Result<Desk, DeskError> = arguments.next().map_or_else(Desk::seeded, |file| Desk::open(Path::new(&file)));
    let desk = desk?;
    if let Some(log) = arguments.next() {
        desk.log_to(Path::new(&log))?;
    }
    let listener = tokio::net::TcpListener::bind(&address).await?;
    println!("helpdesk ready: http://{0}/mcp  http://{0}/api/tickets", listener.local_addr()?);
    axum::serve(listener, router(desk)).await?;
    Ok(())
}
