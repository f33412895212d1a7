//! `userfilefs generate man DIR` and `userfilefs generate completions SHELL`: made from the same definitions as
//! `--help`, so that they cannot differ from it.

use super::Exit;
use super::output;
use anyhow::Context;
use clap::Subcommand;
use std::io;
use std::path::{Path, PathBuf};

/// Make manual pages or shell completions.
#[derive(clap::Args, Debug)]
pub struct Args {
    /// What to make
    #[command(subcommand)]
    pub what: Generate,
}

/// What can be made.
#[derive(Debug, Subcommand)]
pub enum Generate {
    /// Write the manual pages, one for each command, into a directory
    #[command(after_help = "Example:\n  userfilefs generate man /usr/local/share/man/man1")]
    Man {
        /// Where to; made if it does not exist
        #[arg(value_name = "DIR")]
        dir: PathBuf,
    },
    /// Print the completions for a shell
    #[command(
        after_help = "Examples:\n  userfilefs generate completions bash > /etc/bash_completion.d/userfilefs\n  \
                      userfilefs generate completions fish > ~/.config/fish/completions/userfilefs.fish\n  \
                      userfilefs generate completions zsh > \"${fpath[1]}/_userfilefs\""
    )]
    Completions {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

/// Makes what was asked for from the definition of the whole command line.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let mut root = super::args::tree();
    match args.what {
        Generate::Man { dir } => {
            let wrote = std::fs::create_dir_all(&dir).and_then(|()| {
                root.build();
                pages(&root, &dir)
            });
            wrote.with_context(|| format!("cannot write manual pages to {}", dir.display()))?;
        }
        Generate::Completions { shell } => {
            let mut text = Vec::new();
            clap_complete::generate(shell, &mut root, "userfilefs", &mut text);
            output::out().bytes(&text);
        }
    }
    Ok(Exit::Success)
}

/// The page of a command, and those of its subcommands (`userfilefs-upload.1`).
fn pages(command: &clap::Command, dir: &Path) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned();
    std::fs::write(dir.join(format!("{name}.1")), page(command, &name)?)?;
    if name == "userfilefs-userfile" {
        // The same commands once more.
        return Ok(());
    }
    let shown = |c: &&clap::Command| !c.is_hide_set() && c.get_name() != "help";
    command.get_subcommands().filter(shown).try_for_each(|sub| pages(sub, dir))
}

fn page(command: &clap::Command, name: &str) -> io::Result<Vec<u8>> {
    // What follows the options has sections of its own, so that its lines stay as they are.
    let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let plain = command.clone().after_help("").after_long_help("");
    let source = concat!("userfilefs ", env!("CARGO_PKG_VERSION"));
    let man = clap_mangen::Man::new(plain).title(name.to_uppercase()).source(source);
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    if command.get_arguments().any(|a| !a.is_hide_set()) {
        man.render_options_section(&mut text)?;
    }
    if command.get_subcommands().any(|c| !c.is_hide_set()) {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend(sections(&after).bytes());
    Ok(text)
}

/// The text after the options of a help, as sections: its examples, and the rest as notes. Indented lines stay lines,
/// others flow.
fn sections(after: &str) -> String {
    let mut out = String::new();
    let mut in_examples = false;
    let mut is_fixed = false;
    let mut fix = |out: &mut String, wanted: bool| {
        if is_fixed != wanted {
            out.push_str(if wanted { ".nf\n" } else { ".fi\n" });
            is_fixed = wanted;
        }
    };
    for line in after.lines() {
        let is_heading = matches!(line, "Example:" | "Examples:");
        if is_heading || out.is_empty() {
            fix(&mut out, false);
            in_examples = is_heading;
            out.push_str(if is_heading { ".SH EXAMPLES\n" } else { ".SH NOTES\n" });
        }
        if is_heading {
            continue;
        }
        let listed = line.strip_prefix("  ");
        fix(&mut out, listed.is_some());
        // Examples begin at the margin, lists below their headings.
        let line = listed.filter(|_| in_examples).unwrap_or(line).replace('\\', "\\e").replace('-', "\\-");
        match line.chars().next() {
            None => out.push_str(".PP\n"),
            // A line that begins like a request is none.
            Some('.' | '\'') => out.push_str(&format!("\\&{line}\n")),
            Some(_) => out.push_str(&format!("{line}\n")),
        }
    }
    fix(&mut out, false);
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn lists_keep_their_lines_and_text_flows() {
        let after = "Some text.\nWords:\n  a-b  c\n    d\n\nMore.\n\nExamples:\n  userfilefs x \\\n  .y";
        let expected = ".SH NOTES\nSome text.\nWords:\n.nf\n  a\\-b  c\n    d\n.fi\n.PP\nMore.\n.PP\n.SH EXAMPLES\n.nf\n\
                        userfilefs x \\e\n\\&.y\n.fi\n";
        assert_eq!(super::sections(after), expected);
        assert_eq!(super::sections(""), "");
    }
}
