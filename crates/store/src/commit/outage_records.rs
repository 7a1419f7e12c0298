//! Outages as they begin and end: an alarm in the server's log, and a record as soon as one can be written.
//! SPEC: record.md §1.10 (PCI DSS 10.7, AU-5).

use super::outage::Outage;
use remit_clock::Steps;
use remit_ledger::record::{Draft, EffectConfirmed, OutcomeStatus, ProducerKind, RecordType};
use remit_model::{Code, TenantId, ToolClass, time::Moment};
use serde_json::{Value, json};

/// One outage from its begin to the record of its end.
#[derive(Clone, Debug)]
struct Alarm {
    code: Code,
    began: Moment,
    /// Its begin is recorded.
    announced: bool,
    ended: Option<Moment>,
    refused: u64,
    spooled: u64,
}

/// All outages under way or not yet recorded as over, and the steps of the clock that were recorded.
#[derive(Debug, Default)]
pub(crate) struct OutageRecords {
    alarms: Vec<Alarm>,
    steps: Steps,
}

impl OutageRecords {
    /// Takes note of whether this outage is under way, and of the actions it refused since the last time.
    pub(crate) fn observe(&mut self, code: Code, outage: Option<&Outage>, refused: u64, now: &Moment) {
        let running = self.alarms.iter_mut().find(|alarm| alarm.code == code && alarm.ended.is_none());
        match (running, outage) {
            (None, Some(outage)) => {
                tracing::error!(%code, %outage, "ALARM: the ledger is degraded; actions are refused");
                let began = *now;
                self.alarms.push(Alarm { code, began, announced: false, ended: None, refused, spooled: 0 });
            }
            (Some(alarm), Some(_)) => alarm.refused = alarm.refused.saturating_add(refused),
            (Some(alarm), None) => {
                alarm.refused = alarm.refused.saturating_add(refused);
                tracing::warn!(%code, refused = alarm.refused, spooled = alarm.spooled, "the ledger has recovered");
                alarm.ended = Some(*now);
            }
            // A caller that was refused at the very end of an outage whose record is written already.
            (None, None) => {}
        }
    }

    /// Counts records that went into the spool.
    pub(crate) fn count_spooled(&mut self, code: Code, spooled: u64) {
        if let Some(alarm) = self.alarms.iter_mut().find(|alarm| alarm.code == code && alarm.ended.is_none()) {
            alarm.spooled = alarm.spooled.saturating_add(spooled);
        }
    }

    /// What is to be recorded now, in order.
    pub(crate) fn drafts(&self, tenant: &TenantId, steps: Steps) -> Vec<Draft> {
        let mut drafts = Vec::new();
        if steps.count != self.steps.count {
            let facts = json!({"step_ns": steps.last_ns.to_string(), "steps": steps.count.to_string()});
            drafts.push(control(tenant, "clock.stepped").ext("clock", facts));
        }
        for alarm in &self.alarms {
            if !alarm.announced {
                drafts.push(control(tenant, "outage.began").ext("outage", alarm.facts()));
            }
            if alarm.ended.is_some() {
                drafts.push(control(tenant, "outage.over").ext("outage", alarm.facts()));
            }
        }
        drafts
    }

    /// What [`Self::drafts`] gave is durable.
    pub(crate) fn recorded(&mut self, steps: Steps) {
        self.steps = steps;
        self.alarms.retain(|alarm| alarm.ended.is_none());
        for alarm in &mut self.alarms {
            alarm.announced = true;
        }
    }

    /// The record that an outage began, unless it was written.
    pub(crate) fn beginning(&self, tenant: &TenantId, code: Code) -> Option<Draft> {
        let alarm = self.alarms.iter().find(|alarm| alarm.code == code && !alarm.announced && alarm.ended.is_none())?;
        Some(control(tenant, "outage.began").ext("outage", alarm.facts()))
    }

    pub(crate) fn announced(&mut self, code: Code) {
        for alarm in self.alarms.iter_mut().filter(|alarm| alarm.code == code) {
            alarm.announced = true;
        }
    }
}

impl Alarm {
    fn facts(&self) -> Value {
        let mut facts = json!({"code": self.code, "began_ns": self.began.wall_ns.to_string()});
        if let (Some(ended), Value::Object(members)) = (&self.ended, &mut facts) {
            // Of the clock that only runs: the other one may be what broke.
            let duration = ended.mono_ns.saturating_sub(self.began.mono_ns);
            members.insert("duration_ns".to_owned(), json!(duration.to_string()));
            members.insert("refused".to_owned(), json!(self.refused.to_string()));
            members.insert("spooled".to_owned(), json!(self.spooled.to_string()));
        }
        facts
    }
}

fn control(tenant: &TenantId, action: &str) -> Draft {
    Draft::new(tenant.clone(), ProducerKind::AuthzServer, RecordType::LogControl)
        .action(action, ToolClass::Admin)
        .outcome(OutcomeStatus::Success, EffectConfirmed::Observed)
}
