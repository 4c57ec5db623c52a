//! Files that a service manager hands over: `$CREDENTIALS_DIRECTORY/NAME` (systemd's `LoadCredential=`).

use std::path::{Path, PathBuf};

use super::error::Problem;
use super::provenance::Provenance;
use super::raw::Raw;

/// The variable, and how a path in it begins.
const VARIABLE: &str = "CREDENTIALS_DIRECTORY";
const BEGINNING: &str = "$CREDENTIALS_DIRECTORY";

/// Puts the folder in its place. Returns the keys whose files are in one that there is not.
pub(super) fn resolve(raw: &mut Raw) -> Vec<String> {
    let folder = std::env::var_os(VARIABLE).map(PathBuf::from);
    resolve_in(raw, folder.as_deref())
}

fn resolve_in(raw: &mut Raw, folder: Option<&Path>) -> Vec<String> {
    let mut missing = Vec::new();
    for (key, path) in secret_files(raw) {
        let Ok(rest) = path.strip_prefix(BEGINNING) else {
            continue;
        };
        match folder {
            Some(folder) => *path = folder.join(rest),
            None => missing.push(key),
        }
    }
    missing
}

/// What to say of them.
pub(super) fn problems(missing: &[String], provenance: &Provenance) -> Vec<Problem> {
    let problem = |key: &String| {
        let title = format!("`{key}` is a credential, and nobody handed over any");
        let problem = provenance.point(Problem::new(title), key, "in a folder that there is not");
        problem.help(
            "run it by a service manager that sets $CREDENTIALS_DIRECTORY (systemd: `LoadCredential=NAME:FILE`), or \
             name a file",
        )
    };
    missing.iter().map(problem).collect()
}

/// Every key that names a file with a secret, or what belongs to one.
fn secret_files(raw: &mut Raw) -> impl Iterator<Item = (String, &mut PathBuf)> {
    let servers = raw.ice.servers.iter_mut().enumerate();
    let servers = servers.filter_map(|(index, server)| {
        let file = server.credential_file.as_mut()?;
        Some((format!("ice.servers[{index}].credential_file"), file))
    });
    let plugins = raw.plugins.iter_mut().flat_map(|(name, plugin)| {
        let keys = plugin.keys.iter_mut();
        keys.map(move |(key, of)| (format!("plugins.{name}.keys.{key}.file"), &mut of.file))
    });
    let others = [
        ("management.certificate", &mut raw.management.certificate),
        ("management.key", &mut raw.management.key),
        ("management.client_ca", &mut raw.management.client_ca),
        ("console.token_file", &mut raw.console.token_file),
        ("traces.headers_file", &mut raw.traces.headers_file),
        ("traces.ca_file", &mut raw.traces.ca_file),
        ("turn.secret_file", &mut raw.turn.secret_file),
        ("turn.certificate", &mut raw.turn.certificate),
        ("turn.key", &mut raw.turn.key),
    ];
    let others = others.into_iter();
    let others = others.filter_map(|(key, path)| Some((key.to_owned(), path.as_mut()?)));
    servers.chain(plugins).chain(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw() -> Raw {
        toml::from_str(
            "management.key = \"$CREDENTIALS_DIRECTORY/router.key\"\n\
             management.certificate = \"router.pem\"\n\
             [[ice.servers]]\nurls = [\"turn:turn.example.org\"]\n\
             credential_file = \"$CREDENTIALS_DIRECTORY/turn\"\n\
             [plugins.auth-jwt.keys.jwt]\nalgorithm = \"HS256\"\n\
             file = \"$CREDENTIALS_DIRECTORYX/jwt\"\n",
        )
        .expect("valid")
    }

    #[test]
    fn what_was_handed_over_is_found() {
        let mut raw = raw();
        assert_eq!(
            resolve_in(&mut raw, Some(Path::new("/run/c"))),
            Vec::<String>::new()
        );
        let path = |path: &str| Some(PathBuf::from(path));
        assert_eq!(raw.management.key, path("/run/c/router.key"));
        assert_eq!(raw.management.certificate, path("router.pem"));
        assert_eq!(raw.ice.servers[0].credential_file, path("/run/c/turn"));
        let other = &raw.plugins["auth-jwt"].keys["jwt"].file;
        assert_eq!(
            other,
            Path::new("$CREDENTIALS_DIRECTORYX/jwt"),
            "another name"
        );
    }

    #[test]
    fn what_was_not_is_named() {
        assert_eq!(
            resolve_in(&mut raw(), None),
            ["ice.servers[0].credential_file", "management.key"]
        );
    }
}
