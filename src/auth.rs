//! Who may ask for what: API keys, of which only hashes are kept, their scopes and their
//! rates. Knows no HTTP.

mod key;
mod keyring;
mod rate;
mod scope;

pub use key::{ALLOWED, KeyHash, MIN_BYTES, UnusableKey, fresh};
pub use keyring::{Key, Keyring, KeyringError};
pub use rate::{Exceeded, Kind, Limits, Rates, Standing};
pub use scope::{Scope, UnknownScope};
