//! The command side of the emulator: grammar, screens, life cycles, faults.

mod desk;
mod golden;
mod life;
