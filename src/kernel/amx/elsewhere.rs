//! AMX on systems whose way to switch it on is not known here: nobody gets past [`enable`].

use super::AmxMissing;
use crate::kernel::product::Product;

pub fn enable() -> Result<(), AmxMissing> {
    Err(AmxMissing::OperatingSystem)
}

pub unsafe fn configure() {
    unreachable!("AMX was not enabled");
}

pub unsafe fn release() {
    unreachable!("AMX was not enabled");
}

pub unsafe fn multiply(_: &Product) {
    unreachable!("AMX was not enabled");
}
