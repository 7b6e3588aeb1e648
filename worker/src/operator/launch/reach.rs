//! How a host is reached: the command line that runs this program's far end there.

use std::path::PathBuf;

/// What ssh is told always. What stands in `--ssh` comes first, and of an option given twice ssh takes the first.
const SSH_OPTIONS: [&str; 9] = [
    "-T",
    "-oBatchMode=yes",
    "-oConnectTimeout=10",
    "-oServerAliveInterval=5",
    "-oServerAliveCountMax=3",
    // A host that one connection serves is not served by another's socket, which would end with it.
    "-oControlPath=none",
    "-oForwardX11=no",
    "-oForwardAgent=no",
    "-oEscapeChar=none",
];

/// Where a program runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// On this machine.
    Here,
    /// Behind ssh.
    Ssh {
        /// ssh and the user's options for it.
        ssh: Vec<String>,
        /// Its destination.
        target: String,
    },
}

/// A host and where its `m2t` lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) reach: Reach,
    pub(super) program: PathBuf,
}

impl Way {
    /// The words that run `m2t SUBCOMMAND` there.
    pub(super) fn command(&self, subcommand: &str) -> Vec<String> {
        let program = self.program.display().to_string();
        match &self.reach {
            Reach::Here => vec![program, subcommand.to_owned()],
            Reach::Ssh { ssh, target } => {
                let mut words = ssh.clone();
                words.extend(SSH_OPTIONS.map(str::to_owned));
                // The destination ends ssh's options, so what follows is the remote command, which a shell there reads.
                words.push(target.clone());
                words.push(format!("exec {} {subcommand}", quoted(&program)));
                words
            }
        }
    }

    /// The host, for messages.
    pub(super) fn target(&self) -> &str {
        match &self.reach {
            Reach::Here => "here",
            Reach::Ssh { target, .. } => target,
        }
    }
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_survives_the_shell_of_a_host() {
        let way = Way {
            reach: Reach::Ssh {
                ssh: vec!["ssh".to_owned(), "-p2222".to_owned()],
                target: "me@node".to_owned(),
            },
            program: PathBuf::from("/opt/it's here/m2t"),
        };
        let words = way.command("launch-seat");
        assert_eq!(words[..2], ["ssh", "-p2222"]);
        assert_eq!(words[words.len() - 2], "me@node");
        let command = words.last().unwrap();
        let read = std::process::Command::new("sh")
            .args(["-c", &command.replacen("exec", "printf '%s\\n'", 1)])
            .output()
            .unwrap();
        assert_eq!(
            String::from_utf8(read.stdout).unwrap(),
            "/opt/it's here/m2t\nlaunch-seat\n"
        );
    }
}
