//! The admin endpoints: whom they can be reached by, and whether that needs a token.

use crate::error::Code;
use crate::file::AdminListen;
use crate::file::choice;
use crate::report::Report;
use crate::{Admin, Token};

/// Where the endpoints are, and what a client has to say. An address that others can reach without a token is reported.
pub(super) fn admin(said: Option<&choice::Admin>, report: &mut Report<'_>) -> (Admin, Option<Token>) {
    let said = match said {
        None => return (Admin::Default(Admin::ADDRESS), None),
        Some(choice::Admin::Off) => return (Admin::Off, None),
        Some(choice::Admin::Listen(said)) => said,
    };
    let listen = &said.listen;
    if said.token.is_none() && !listen.value.ip().to_canonical().is_loopback() {
        let message = format!(
            "admin on {} can be reached from other machines and needs a token; \
             write \"token: ${{file:admin.token}}\", or listen on 127.0.0.1",
            listen.shown()
        );
        report.fault(Code::ExposedAdmin, listen.spot, message);
    }
    (Admin::Listen(listen.value), token(said, report))
}

/// Messages about a token never have any of it.
fn token(said: &AdminListen, report: &mut Report<'_>) -> Option<Token> {
    let said = &said.token.as_ref()?.0.as_ref()?.0;
    let bytes = said.value.as_bytes();
    if !bytes.iter().all(u8::is_ascii_graphic) {
        let message = "the admin token has a sign that a header cannot carry; write letters, digits and signs of ASCII";
        report.fault(Code::BadValue, said.spot, message);
        return None;
    }
    let token = Token::new(bytes.to_vec());
    if token.is_none() {
        let message = format!("the admin token has {} bytes, {} are the fewest", bytes.len(), Token::LEAST);
        report.fault(Code::BadValue, said.spot, message);
    }
    token
}
