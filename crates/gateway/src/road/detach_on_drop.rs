//! A future that is polled in place and, if dropped before its end, continues on the runtime.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};
use tokio::runtime::Handle;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs inside the future that awaits it, which costs no task; dropped before its end, it becomes a task of its own.
pub(crate) struct DetachOnDrop(Option<Work>);

impl DetachOnDrop {
    pub(crate) fn new(work: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(Some(Box::pin(work)))
    }
}

impl Future for DetachOnDrop {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let Some(work) = &mut self.0 else { return Poll::Ready(()) };
        let polled = work.as_mut().poll(context);
        if polled.is_ready() {
            self.0 = None;
        }
        polled
    }
}

impl Drop for DetachOnDrop {
    fn drop(&mut self) {
        // What broke in the middle does not go on.
        if std::thread::panicking() {
            return;
        }
        // Outside a runtime there is nothing that could go on.
        if let (Some(work), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            runtime.spawn(work);
        }
    }
}

impl fmt::Debug for DetachOnDrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outliving").field("done", &self.0.is_none()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn what_nobody_waits_for_is_still_finished() {
        for begun in [true, false] {
            let (go, wait) = oneshot::channel::<()>();
            let (done, finished) = oneshot::channel();
            let mut work = DetachOnDrop::new(async move {
                let _ = wait.await;
                let _ = done.send(7);
            });
            if begun {
                tokio::select! {
                    biased;
                    () = &mut work => unreachable!(),
                    () = std::future::ready(()) => {}
                }
            }
            drop(work);
            go.send(()).unwrap();
            assert_eq!(finished.await, Ok(7));
        }
    }

    #[tokio::test]
    async fn what_is_waited_for_is_done_once() {
        let (count, mut counted) = tokio::sync::mpsc::unbounded_channel();
        DetachOnDrop::new(async move { count.send(()).unwrap() }).await;
        assert_eq!((counted.recv().await, counted.recv().await), (Some(()), None));
    }
}
