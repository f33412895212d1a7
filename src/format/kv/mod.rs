//! Part of the backup format.
