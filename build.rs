//! Rebuilds when a migration is added: `sqlx::migrate!` embeds the folder, which cargo cannot see.

fn main() {
    println!("cargo:rerun-if-changed=migrations");
}
