//! An emulated Foundry ServerIron.
