//! Shared by the three test binaries.
