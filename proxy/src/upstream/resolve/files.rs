//! What files of the system say of names. They are read anew for each look-up that wants to know: a change is not missed,
//! and none is kept. What the text about name servers means is read in `setup`.

use std::io::{self, Read};
use std::net::IpAddr;
use std::path::{Path, PathBuf};

/// The most bytes of a file; what is beyond them is not read.
const BYTES: u64 = 4 << 20;

/// Where the files are.
#[derive(Clone, Debug)]
pub(super) struct Files {
    pub(super) hosts: PathBuf,
    pub(super) resolv: PathBuf,
}

impl Default for Files {
    fn default() -> Self {
        Self { hosts: "/etc/hosts".into(), resolv: "/etc/resolv.conf".into() }
    }
}

/// Both block.
impl Files {
    /// The addresses of a name.
    pub(super) fn addresses(&self, name: &str) -> Vec<IpAddr> {
        // Without a file of hosts there is none.
        let hosts = text(&self.hosts).unwrap_or_default();
        listed(&hosts, name).collect()
    }

    /// What there is about name servers.
    pub(super) fn resolv(&self) -> io::Result<String> {
        text(&self.resolv)
    }
}

fn text(path: &Path) -> io::Result<String> {
    let mut bytes = Vec::new();
    tollgate_config::open(path)?.take(BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The addresses of a name in a text of hosts: an address, then its names, up to a comment.
fn listed<'a>(hosts: &'a str, name: &str) -> impl Iterator<Item = IpAddr> + use<'a> {
    let name = name.strip_suffix('.').unwrap_or(name).to_owned();
    hosts.lines().filter_map(move |line| {
        let mut words = line.split('#').next()?.split_whitespace();
        let address = words.next()?.parse().ok()?;
        words.any(|word| word.eq_ignore_ascii_case(&name)).then_some(address)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_the_addresses_of_every_line_that_lists_it() {
        let hosts =
            "# 10.0.0.9 app\n10.0.0.1 a App.local\t app # app.test\n\n::1 localhost app.local\nx app.local\n10.0.0.2";
        let of = |name| listed(hosts, name).map(|address| address.to_string()).collect::<Vec<_>>();

        assert_eq!(of("app.local"), ["10.0.0.1", "::1"]);
        assert_eq!(of("APP.LOCAL."), ["10.0.0.1", "::1"]);
        assert_eq!(of("app"), ["10.0.0.1"]);
        assert_eq!(of("app.test"), Vec::<String>::new());
        assert_eq!(of("10.0.0.1"), Vec::<String>::new());
    }

    #[test]
    fn a_file_that_is_not_there_or_is_none_lists_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let files = Files { hosts: folder.path().join("hosts"), resolv: folder.path().to_owned() };

        assert!(files.addresses("localhost").is_empty() && files.resolv().is_err());
    }
}
