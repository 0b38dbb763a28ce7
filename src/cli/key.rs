//! `polyhead key`.

use std::str::FromStr;

use crate::auth::{self, KeyHash, Scope};
use crate::cli::output;
use crate::name;

/// Make an API key: the key on standard error, shown once, and its hash for the configuration on
/// standard output.
#[derive(Debug, clap::Args)]
pub struct Key {
    /// What the key is called in the configuration, in logs and in metrics.
    name: Name,
    /// What it is good for: infer, train, admin; several joined by commas.
    #[arg(long, value_name = "SCOPES", value_delimiter = ',', default_value = "infer")]
    scopes: Vec<Scope>,
}

#[derive(Clone, Debug)]
struct Name(String);

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Name, String> {
        if name::is_valid(text) {
            Ok(Name(text.to_owned()))
        } else {
            Err(format!("allowed: {}", name::ALLOWED))
        }
    }
}

impl Key {
    pub fn run(self) -> anyhow::Result<()> {
        let key = auth::fresh();
        // Quotes, so that a dot in the name does not part it.
        let name =
            if self.name.0.contains('.') { format!("{:?}", self.name.0) } else { self.name.0 };
        let scopes: Vec<&str> = self.scopes.iter().map(|scope| scope.as_str()).collect();
        // First what is kept: a key whose hash could not be written is of no use.
        output::print(format_args!(
            "[auth.keys.{name}]\nscopes = {scopes:?}\nsha256 = \"{}\"\n",
            KeyHash::of(&key)
        ))?;
        output::say(format_args!("the key, which is kept nowhere: {key}"));
        Ok(())
    }
}
