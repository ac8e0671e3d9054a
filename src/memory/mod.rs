//! What Redis says about its memory: pure.

mod health;
mod info;
mod reading;
mod window;

pub use health::{CHECK_EVERY, Health, Use};
pub use info::{EngineInfo, InfoError, field};
pub use reading::MemoryReading;
pub use window::RefusalWindow;
