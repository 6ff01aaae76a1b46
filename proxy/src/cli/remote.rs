//! A running proxy, asked over its admin endpoints: one request, one connection, HTTP/1.1 as those endpoints speak it.

use std::env;
use std::ffi::OsString;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use tollgate_config::Admin;

use super::Failure;

/// The address of the admin endpoints, where the command line has none.
const ADDRESS: &str = "TOLLGATE_ADMIN";
/// The token itself, where the command line names no file.
const TOKEN: &str = "TOLLGATE_ADMIN_TOKEN";

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the proxy may not take anything.
const SEND: Duration = Duration::from_secs(30);
/// How long the proxy may stay silent: longer than it lets anybody wait for a change.
const ANSWER: Duration = Duration::from_secs(320);
/// The most bytes of an answer.
const LONGEST: u64 = 64 << 20;

/// Which proxy is asked, and how.
#[derive(Debug, Args)]
pub(super) struct Remote {
    /// The admin endpoints of the proxy [default: $TOLLGATE_ADMIN, or 127.0.0.1:9901]
    #[arg(long, value_name = "ADDR")]
    admin: Option<String>,
    /// A file with the admin token [default: the token in $TOLLGATE_ADMIN_TOKEN, if any]
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    token_file: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Remote {
    /// What the proxy answers, or how it refuses.
    pub(super) fn ask(&self, method: &str, target: &str, body: &[u8]) -> Result<String, Failure> {
        let address = self.address();
        let token = self.token()?;
        let accept = if self.json { "application/json" } else { "text/plain" };
        let length = body.len();
        let mut head = format!(
            "{method} {target} HTTP/1.1\r\nhost: {address}\r\naccept: {accept}\r\ncontent-length: {length}\r\n\
             connection: close\r\n"
        );
        let said_token = token.is_some();
        head.extend(token.map(|token| format!("authorization: Bearer {token}\r\n")));
        head.push_str("\r\n");
        let answer = exchange(&address, head.as_bytes(), body);
        let answer = answer
            .and_then(|answer| understood(&answer).ok_or_else(|| strange("what answers is no Tollgate, or broke off")));
        let (status, said) = answer.map_err(|source| Failure::Unreachable { address, source })?;
        match status {
            200 => Ok(said),
            401 if said_token => {
                Err(Failure::Token("the proxy has another admin token than the one it was told".into()))
            }
            401 => Err(Failure::Token(format!(
                "the proxy wants its admin token; name a file that holds it with --token-file FILE, or set {TOKEN}"
            ))),
            _ => Err(refused(said.trim_end())),
        }
    }

    /// As it was written, without what a browser's address has around it.
    fn address(&self) -> String {
        let said = self.admin.clone().or_else(|| env::var(ADDRESS).ok()).filter(|said| !said.is_empty());
        let said = said.unwrap_or_else(|| Admin::ADDRESS.to_string());
        said.strip_prefix("http://").unwrap_or(&said).trim_end_matches('/').to_owned()
    }

    fn token(&self) -> Result<Option<String>, Failure> {
        let Some(path) = &self.token_file else {
            return env::var_os(TOKEN).filter(|token| !token.is_empty()).map(|token| bearer(token, TOKEN)).transpose();
        };
        let place = path.display().to_string();
        let token = std::fs::read_to_string(path);
        let token = token.map_err(|error| Failure::Token(format!("cannot read {place}: {error}")))?;
        bearer(token.trim_end().into(), &place).map(Some)
    }
}

/// A refusal in the words of the proxy, which has codes for faults of modules and configurations only.
fn refused(said: &str) -> Failure {
    let whole = said.starts_with("error[") || said.starts_with('{');
    Failure::Refused(if whole { said.to_owned() } else { format!("error[TG0404]: {said}") })
}

/// A token that a header can carry.
fn bearer(token: OsString, place: &str) -> Result<String, Failure> {
    let fits = |token: &String| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let unfit = || Failure::Token(format!("what {place} holds is no token; it takes letters, digits and signs"));
    token.into_string().ok().filter(fits).ok_or_else(unfit)
}

/// Sends a request and reads what comes until the proxy closes.
fn exchange(address: &str, head: &[u8], body: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = connect(address)?;
    stream.set_write_timeout(Some(SEND))?;
    stream.set_read_timeout(Some(ANSWER))?;
    // A proxy that wants no more of it says why.
    let sent = stream.write_all(head).and_then(|()| stream.write_all(body));
    let mut answer = Vec::new();
    let read = stream.take(LONGEST).read_to_end(&mut answer);
    match (sent, read) {
        (Err(error), _) | (_, Err(error)) if answer.is_empty() => Err(error),
        _ => Ok(answer),
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = strange("the name has no address");
    for known in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&known, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The status and the body of an answer that is whole.
fn understood(answer: &[u8]) -> Option<(u16, String)> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n")?;
    let (head, body) = (std::str::from_utf8(&answer[..end]).ok()?, &answer[end + 4..]);
    let (start, fields) = head.split_once("\r\n")?;
    let status = start.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()?;
    let mut fields = fields.split("\r\n").filter_map(|field| field.split_once(':'));
    let (_, length) = fields.find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    let whole = length.trim().parse() == Ok(body.len());
    whole.then(|| (status, String::from_utf8_lossy(body).into_owned()))
}

fn strange(what: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_when_it_is_whole() {
        let good = b"HTTP/1.1 409 Conflict\r\nContent-Length: 3\r\nconnection: close\r\n\r\nno\n";

        assert_eq!(understood(good), Some((409, "no\n".to_owned())));
        for bad in [
            &good[..good.len() - 1],
            b"",
            b"HTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n",
            b"SSH-2.0-OpenSSH\r\ncontent-length: 0\r\n\r\n",
        ] {
            assert_eq!(understood(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_address_may_be_copied_from_where_the_proxy_says_it() {
        let remote = |admin: &str| Remote { admin: Some(admin.to_owned()), token_file: None, json: false };

        assert_eq!(remote("http://127.0.0.1:9901/").address(), "127.0.0.1:9901");
        assert_eq!(remote("[::1]:9901").address(), "[::1]:9901");
    }

    #[test]
    fn what_a_header_cannot_carry_is_no_token() {
        assert_eq!(bearer("0123456789abcdef".into(), "F").unwrap(), "0123456789abcdef");
        for bad in ["", "a b", "a\r\nb", "grün"] {
            assert!(bearer(bad.into(), "F").is_err(), "{bad:?}");
        }
    }
}
