//! Exit codes: an interface, listed in the manual.

use std::process::ExitCode;

/// How the program ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// 0: done; `check`: no damage.
    Success,
    /// 1: failed; `check`: damage was found.
    Failure,
    /// 2: `check` could not look; a defect of the program.
    Trouble,
    /// 3: interrupted.
    Interrupted,
    /// 4: the arguments make no sense.
    Usage,
    /// 32: mount(8)'s word for a mount that failed.
    MountFailure,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Trouble => 2,
            Exit::Interrupted => 3,
            Exit::Usage => 4,
            Exit::MountFailure => 32,
        }
    }

    /// The code that an error carries by [`WithExit`], or 1.
    pub fn of_error(e: &anyhow::Error) -> Exit {
        e.downcast_ref::<WithExit>().map_or(Exit::Failure, |w| w.exit)
    }
}

impl From<Exit> for ExitCode {
    fn from(e: Exit) -> ExitCode {
        ExitCode::from(e.code())
    }
}

/// An error that ends the program with a code of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct WithExit {
    /// What is shown.
    pub message: String,
    /// The code.
    pub exit: Exit,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        let all =
            [Exit::Success, Exit::Failure, Exit::Trouble, Exit::Interrupted, Exit::Usage, Exit::MountFailure];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 32]);
        let e = anyhow::Error::from(WithExit { message: "x".into(), exit: Exit::Usage }).context("y");
        assert_eq!(Exit::of_error(&e), Exit::Usage);
        assert_eq!(Exit::of_error(&anyhow::anyhow!("z")), Exit::Failure);
    }
}
