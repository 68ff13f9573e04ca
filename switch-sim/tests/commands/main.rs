//! The command side of the emulator: grammar, screens, life cycles, access, faults, scenarios.

mod access;
mod boot;
mod desk;
mod faults;
mod golden;
mod life;
mod properties;
mod scenarios;
mod seam;
mod templates;
