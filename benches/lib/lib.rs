//! Shared by the benchmarks: figures with their spread, and how to print them.

pub mod figures;
pub mod here;
pub mod info;
pub mod pin;
pub mod term;

/// A number from the environment.
#[must_use]
pub fn setting<T: std::str::FromStr>(name: &str, otherwise: T) -> T {
    let set = std::env::var(name).ok().and_then(|it| it.parse().ok());
    set.unwrap_or(otherwise)
}
