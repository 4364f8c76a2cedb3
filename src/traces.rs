//! The context of a trace, which goes with a batch from the request that made it to the looks that start it.

use std::fmt;

use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

/// Target of the spans that are traces, and no context of log lines.
pub const TARGET: &str = "sparkbatch::traces";

/// A span of a trace, in the form of W3C Trace Context: `00-<trace>-<span>-<flags>`, 55 characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceParent(SpanContext);

impl TraceParent {
    /// Reads a `traceparent` of version 00; `None` if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hex = |part: &str, length: usize| {
            part.len() == length && part.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c))
        };
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_valid = version == "00" && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
        if !is_valid || parts.next().is_some() {
            return None;
        }
        // Other flags than this one have no meaning yet.
        let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
        let (trace, span) = (TraceId::from_hex(trace).ok()?, SpanId::from_hex(span).ok()?);
        let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
        context.is_valid().then_some(Self(context))
    }

    /// The context of `span`; `None` where spans are not traced.
    #[must_use]
    pub fn of(span: &Span) -> Option<Self> {
        let context = span.context().span().span_context().clone();
        context.is_valid().then_some(Self(context))
    }

    /// Makes `span`, which has not been entered yet, a part of this trace.
    pub fn adopt(&self, span: &Span) {
        // Where spans are not traced there is nothing to be part of.
        let _ = span.set_parent(opentelemetry::Context::new().with_remote_span_context(self.0.clone()));
    }

    /// Has `span`, of a trace of its own, point here.
    pub fn link(&self, span: &Span) {
        span.add_link(self.0.clone());
    }
}

impl fmt::Display for TraceParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (trace, span, flags) = (self.0.trace_id(), self.0.span_id(), self.0.trace_flags());
        write!(f, "00-{trace}-{span}-{:02x}", flags.to_u8())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("")]
    #[case("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331")]
    #[case("01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    #[case("00-00000000000000000000000000000000-b7ad6b7169203331-01")]
    #[case("00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01")]
    #[case("00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01")]
    #[case("00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")]
    #[case("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-00")]
    #[case("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n")]
    fn what_is_no_context_is_none(#[case] text: &str) {
        assert_eq!(TraceParent::parse(text), None);
    }

    proptest! {
        #[test]
        fn a_context_is_written_as_it_was_read(trace in "[0-9a-f]{31}[1-9a-f]", span in "[0-9a-f]{15}[1-9a-f]", sampled in "0[01]") {
            let text = format!("00-{trace}-{span}-{sampled}");
            prop_assert_eq!(TraceParent::parse(&text).unwrap().to_string(), text);
        }

        #[test]
        fn no_text_is_longer_than_a_context(text in ".{0,80}") {
            if let Some(context) = TraceParent::parse(&text) {
                prop_assert_eq!(context.to_string().len(), 55);
            }
        }
    }

    #[test]
    fn a_span_that_is_not_traced_has_no_context() {
        assert_eq!(TraceParent::of(&Span::none()), None);
        let context = TraceParent::parse("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").unwrap();
        context.adopt(&Span::none());
        context.link(&Span::none());
    }
}
