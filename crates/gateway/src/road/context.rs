//! What the steps of the road need to know of one act.

use crate::{
    road::{act::Act, identify::Caller},
    settings::Settings,
};
use remit_clock::Clock;
use remit_model::{resource::Server, time::Moment};
use remit_policy::Live;
use remit_store::Store;

/// One act of one identified caller at one server.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    pub(crate) store: &'a Store,
    pub(crate) policy: &'a Live,
    pub(crate) clock: &'a Clock,
    pub(crate) settings: &'a Settings,
    pub(crate) server: &'a Server,
    /// Serve what changes nothing while the ledger is in trouble.
    pub(crate) reads_in_outage: bool,
    pub(crate) caller: &'a Caller,
    pub(crate) act: &'a Act,
    /// When the request was read.
    pub(crate) now: &'a Moment,
}
