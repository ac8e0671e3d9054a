//! How Redis is: whether it answers and takes writes, how full it is, and which server it is. Pure.

mod check;
mod engine;
mod info;
mod memory;
mod window;

pub use check::{CHECK_EVERY, Health, Usability};
pub use engine::EngineInfo;
pub use info::{InfoError, field};
pub use memory::MemoryReading;
pub use window::RefusalWindow;
