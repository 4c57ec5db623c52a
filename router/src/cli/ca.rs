//! `rillway ca`: a private authority, and certificates of routers and operators.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;

use super::operate::{OperateError, read};
use crate::config::Secret;
use crate::management::Role;
use crate::management::discovery::write_private;
use crate::management::pki::{Authority, Subject};

const DAY: Duration = Duration::from_secs(24 * 3_600);
const CERTIFICATE: &str = "ca.pem";
const KEY: &str = "ca.key";

const ISSUE_HELP: &str = "\
Examples:
  rillway ca init
  rillway ca issue router --server --host sfu.example.org --host 203.0.113.7
  rillway ca issue ada --role operator

Roles: viewer sees everything; operator and admin change things (docs/management.md).";

const REVOKE_HELP: &str = "\
Examples:
  rillway ca revoke ada.pem

Copy ca.pem to where `management.client_ca` names it, and reload: `rillway config reload`, or SIGHUP.
Connections of whose certificate is in the list end then.";

/// What certificates are to be made.
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Ca {
    /// Make an authority: ca.pem for every router and operator, ca.key for nobody else
    Init {
        /// Where its files are
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
        /// Days until its end
        #[arg(long, value_name = "N", default_value_t = 3_650, value_parser = clap::value_parser!(u32).range(1..=36_500))]
        days: u32,
    },
    /// Make a certificate: NAME.pem and NAME.key
    #[command(after_help = ISSUE_HELP)]
    Issue {
        /// Whose it is, for logs and file names
        #[arg(value_parser = name)]
        name: String,
        /// What its holder may do: viewer, operator, admin or peer
        #[arg(long, required_unless_present = "server")]
        role: Option<Role>,
        /// It is a router's
        #[arg(long, conflicts_with = "role", requires = "host")]
        server: bool,
        /// Name or address by which the router is reached
        #[arg(long, value_name = "HOST", requires = "server")]
        host: Vec<String>,
        /// Where the authority's files are, and these go
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
        /// Days until its end
        #[arg(long, value_name = "N", default_value_t = 365, value_parser = clap::value_parser!(u32).range(1..=3_650))]
        days: u32,
    },
    /// Revoke a certificate: its serial number goes into the list in ca.pem
    #[command(after_help = REVOKE_HELP)]
    Revoke {
        /// The certificate
        #[arg(value_name = "FILE")]
        certificate: PathBuf,
        /// Where the authority's files are
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        folder: PathBuf,
    },
}

fn name(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_.@".contains(c);
    let fits = (1..=64).contains(&text.len()) && text.chars().all(plain);
    if !fits || text.starts_with(['.', '-']) || text == "ca" {
        return Err("1 to 64 of letters, digits and `-_.@`, and not `ca`".to_owned());
    }
    Ok(text.to_owned())
}

impl Ca {
    /// Makes the files; none is overwritten but the authority's by `revoke`.
    ///
    /// # Errors
    /// [`OperateError::Argument`].
    pub fn run(&self) -> Result<String, OperateError> {
        match self {
            Ca::Init { folder, days } => {
                let authority = Authority::create("rillway operators", DAY * *days);
                let authority = authority.map_err(|e| OperateError::argument(&"init", &e))?;
                let key = authority.key();
                write(folder, CERTIFICATE, authority.certificate())?;
                write(folder, KEY, key.reveal())?;
                Ok(format!(
                    "{CERTIFICATE} and {KEY} are in {}\n",
                    folder.display()
                ))
            }
            Ca::Issue {
                name,
                role,
                host,
                folder,
                days,
                ..
            } => {
                let certificate = read(&folder.join(CERTIFICATE))?;
                let key = Secret::new(read(&folder.join(KEY))?);
                let issued = Authority::from_pem(&certificate, &key).and_then(|authority| {
                    authority.issue(&Subject {
                        name: name.clone(),
                        role: *role,
                        hosts: host.clone(),
                        valid: DAY * *days,
                    })
                });
                let issued = issued.map_err(|error| OperateError::argument(name, &error))?;
                let files = [format!("{name}.pem"), format!("{name}.key")];
                write(folder, &files[0], &issued.certificate)?;
                write(folder, &files[1], issued.key.reveal())?;
                Ok(format!(
                    "{} and {} are in {}\n",
                    files[0],
                    files[1],
                    folder.display()
                ))
            }
            Ca::Revoke {
                certificate,
                folder,
            } => {
                let path = folder.join(CERTIFICATE);
                let file = read(&path)?;
                let key = Secret::new(read(&folder.join(KEY))?);
                let (of, revoked) = (certificate.display(), read(certificate)?);
                let authority = Authority::from_pem(&file, &key);
                let file = authority.and_then(|authority| authority.revoke(&file, &revoked));
                let file = file.map_err(|error| OperateError::argument(&of, &error))?;
                // There is never half of it.
                let next = format!("{CERTIFICATE}.new");
                write(folder, &next, &file)?;
                std::fs::rename(folder.join(next), &path)
                    .map_err(|error| OperateError::argument(&path.display(), &error))?;
                Ok(format!("{of} is revoked; {} says so\n", path.display()))
            }
        }
    }
}

fn write(folder: &Path, file: &str, text: &str) -> Result<(), OperateError> {
    let path = folder.join(file);
    write_private(&path, text).map_err(|error| OperateError::argument(&path.display(), &error))
}
