//! The policies `remit init` writes: few, annotated, and meant to be edited.

use crate::bundle::Bundle;

impl Bundle {
    /// File names and texts of the starter policies.
    pub fn starter() -> &'static [(&'static str, &'static str)] {
        &[
            ("baseline.cedar", include_str!("starter/baseline.cedar")),
            ("payments.cedar", include_str!("starter/payments.cedar")),
            ("data.cedar", include_str!("starter/data.cedar")),
        ]
    }
}
