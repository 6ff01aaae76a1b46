//! Heads in the chain: each filter sees them in turn, and may hold them, with the body or without it.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use tollgate_abi::{Action, HeaderMap, StreamCallback};
use tollgate_config::{EmptyBody, HeaderPause};

use super::{Chain, Halt, Link, Until};
use crate::error::Reason;
use crate::exchange::{Awaiting, Half};

/// A body that can be drawn while its head is held.
pub trait Draw {
    /// Brings one thing forward: a resume, or a frame of the body.
    fn draw(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Halt>>;
}

impl Chain {
    /// Runs `on_request_headers` of every filter, waiting where one pauses. `body` is drawn for filters that hold the
    /// head alone.
    pub async fn request_headers(&self, end: bool, mut body: Option<&mut dyn Draw>) -> Result<(), Halt> {
        let mut left = None;
        for (place, link) in self.links.iter().enumerate() {
            if link.plugin.sheds() {
                self.leave_out(place, Reason::FilterOverShare(link.plugin.name().to_owned()))?;
                continue;
            }
            if link.plugin.is_gone() {
                left = None;
            }
            if !link.plugin.ready().await || link.plugin.shuts_out_exchanges() {
                self.policy(place, link.plugin.last_cause())?;
                continue;
            }
            let action = self.begin(place, end, &mut left)?;
            if self.settle_headers(place, action, Half::Request, &mut body).await? {
                left = None;
            }
        }
        self.gate(Half::Request).set(usize::MAX);
        Ok(())
    }

    /// Runs `on_response_headers` of every filter in reverse, waiting where one pauses.
    pub async fn response_headers(&self, end: bool, mut body: Option<&mut dyn Draw>) -> Result<(), Halt> {
        let mut left = None;
        for place in (0..self.links.len()).rev() {
            let fields = self.with_stream(|stream| stream.response.as_ref().map_or(0, HeaderMap::len))?;
            let callback = StreamCallback::ResponseHeaders { fields, end_of_stream: end };
            let action = self.deliver(place, callback, &mut left)?;
            if self.settle_headers(place, action, Half::Response, &mut body).await? {
                left = None;
            }
        }
        self.gate(Half::Response).set(usize::MAX);
        Ok(())
    }

    /// Waits for as long as the filter holds its half. True when it did.
    async fn settle_headers(
        &self,
        place: usize,
        action: Action,
        half: Half,
        body: &mut Option<&mut dyn Draw>,
    ) -> Result<bool, Halt> {
        let alone = action == Action::Pause && self.links[place].holds_head_alone(half, self.bodiless(half).get());
        let drawn = body.as_deref_mut().filter(|_| alone);
        // Where more of the body may end the pause, the filter is not the only one that is waited for.
        let until = if drawn.is_some() { Until::Body } else { Until::Filter };
        if action == Action::Continue || !self.pause(place, half, until)? {
            return Ok(false);
        }
        let before = self.exchange.awaiting.replace(Awaiting::Filter(place));
        let outcome = match drawn {
            Some(body) => self.hold_head(place, half, body).await,
            None => self.hold_message(place, half).await,
        };
        self.exchange.awaiting.set(before);
        self.unpause(place, half);
        outcome.map(|()| true)
    }

    /// Neither head nor body go on before the filter lets them.
    async fn hold_message(&self, place: usize, half: Half) -> Result<(), Halt> {
        poll_fn(|cx| {
            self.exchange.register(half, cx.waker());
            self.look(place, half)
        })
        .await
    }

    /// The head waits while the filter, and those that have let it go, see the body.
    async fn hold_head(&self, place: usize, half: Half, body: &mut dyn Draw) -> Result<(), Halt> {
        let hold = self.links[place].hold(half);
        hold.borrow_mut().paused = true;
        self.gate(half).set(self.place(half, place) + 1);
        poll_fn(|cx| {
            while hold.borrow().paused {
                ready!(body.draw(cx))?;
            }
            Poll::Ready(Ok(()))
        })
        .await
    }
}

impl Link {
    /// True when a pause in a callback for headers lets the body come.
    fn holds_head_alone(&self, half: Half, bodiless: bool) -> bool {
        let manners = &self.plugin.generation.manners;
        let comes = !bodiless || manners.empty_body == EmptyBody::Call;
        manners.header_pause == HeaderPause::Headers && comes && self.sees_body(half)
    }
}
