//! The forms of frames that clients know, and how each is read and written.

use serde::Serialize;
use serde_json::{Map, Value, json};

/// What a stream speaks. It goes by the path of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dialect {
    /// `/api/chat`: `message` is answered by `chunk` … and `done`, each with the message's `id`.
    Message,
    /// `/chat`: `chat` is answered by `stream_event` with an event `token` … or `complete`.
    StreamEvent,
    /// `/`: `chat` is answered by `token` … and `complete`.
    Token,
    /// `/research-chat`: `research_query` is answered by `token` … and `response_complete`.
    Research,
    /// `/consciousness`: `consciousness_token` … and `analysis_complete` come without being asked for.
    Analysis,
}

/// What an analysis finds; each chunk names one.
const INSIGHTS: [&str; 5] = [
    "self_awareness",
    "memory_integration",
    "emotional_mapping",
    "temporal_integration",
    "sensory_integration",
];

/// A message that was read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Asked {
    /// A text or a number that comes back with each frame of the reply.
    pub(crate) id: Option<Value>,
}

/// What a frame of a client says.
#[derive(Debug, PartialEq)]
pub(crate) enum Heard {
    /// It asks for a reply.
    Message(Asked),
    /// It shows a token, and is not answered if that is known.
    Token(String),
}

/// Why a frame could not be read.
#[derive(Debug, PartialEq)]
pub(crate) struct BadFrame {
    /// Of the message that it seems to be.
    pub(crate) id: Option<Value>,
    /// For programs.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) text: String,
}

impl BadFrame {
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self {
            id: None,
            code,
            text: text.into(),
        }
    }
}

impl Dialect {
    /// Names of frames that ask for a reply.
    fn asks(self) -> &'static [&'static str] {
        match self {
            Self::Message => &["message"],
            Self::StreamEvent => &["chat", "user_message"],
            Self::Token => &["chat", "message"],
            Self::Research => &["research_query"],
            Self::Analysis => &[],
        }
    }

    /// Fields one of which says what is asked.
    fn contents(self) -> &'static [&'static str] {
        match self {
            Self::Message | Self::StreamEvent => &["content"],
            Self::Token | Self::Research | Self::Analysis => &["message", "content"],
        }
    }

    /// The field with which a client knows its message again, and whether there must be one.
    fn id(self) -> Option<(&'static str, bool)> {
        match self {
            Self::Message => Some(("id", true)),
            Self::StreamEvent => Some(("messageId", false)),
            Self::Token | Self::Research | Self::Analysis => None,
        }
    }

    /// Whether a reply begins without being asked for.
    pub(crate) fn begins(self) -> bool {
        self == Self::Analysis
    }

    /// Reads a frame of a client.
    pub(crate) fn read(self, text: &str) -> Result<Heard, BadFrame> {
        let frame: Map<String, Value> = serde_json::from_str(text).map_err(|error| {
            BadFrame::new("not_json", format!("expected a JSON object: {error}"))
        })?;
        let id = self.id().and_then(|(name, _)| frame.get(name));
        let id = id.filter(|id| id.is_string() || id.is_number()).cloned();
        let bad = |code, text| BadFrame {
            id: id.clone(),
            code,
            text,
        };
        let asks = self.asks();
        let kind = frame.get("type").and_then(Value::as_str);
        if self == Self::Token && kind == Some("auth") {
            let token = frame.get("token").and_then(Value::as_str);
            return match token {
                Some(token) => Ok(Heard::Token(token.to_owned())),
                None => Err(bad("no_token", "expected a text as \"token\"".to_owned())),
            };
        }
        if !kind.is_some_and(|kind| asks.contains(&kind)) {
            let got = kind.map_or("none".to_owned(), shortened);
            let text = if asks.is_empty() {
                format!("got a frame of type {got}; this stream sends only")
            } else {
                format!("type: got {got}; allowed are {}", asks.join(", "))
            };
            return Err(bad("unknown_type", text));
        }
        let contents = self.contents();
        if !contents
            .iter()
            .any(|&name| frame.get(name).is_some_and(Value::is_string))
        {
            let text = format!("expected a text as {}", contents.join(" or "));
            return Err(bad("no_content", text));
        }
        match self.id() {
            Some((name, true)) if id.is_none() => {
                let text = format!("expected a text or a number as {name}");
                Err(bad("no_id", text))
            }
            _ => Ok(Heard::Message(Asked { id })),
        }
    }

    /// A part of a reply, with its number from 0.
    pub(crate) fn chunk(self, asked: &Asked, seq: u32, text: &str, hz: Option<f64>) -> String {
        let id = asked.id.as_ref();
        match self {
            Self::Message => frame(&Chunk {
                kind: "chunk",
                id,
                seq,
                content: text,
                hz: None,
            }),
            Self::StreamEvent => event(&Event {
                kind: "token",
                data: Some(text),
                message_id: id,
                seq: Some(seq),
                chunks: None,
            }),
            Self::Token | Self::Research => frame(&Chunk {
                kind: "token",
                id: None,
                seq,
                content: text,
                hz,
            }),
            Self::Analysis => {
                let insights = (0..).zip(INSIGHTS);
                let found = insights
                    .filter(|&(at, _)| at == seq % 5)
                    .map(|(_, insight)| format!("{insight}: {text}"));
                frame(&Chunk {
                    kind: "consciousness_token",
                    id: None,
                    seq,
                    content: &found.collect::<String>(),
                    hz,
                })
            }
        }
    }

    /// What comes along with a chunk and is none.
    pub(crate) fn beside(self, seq: u32) -> Option<String> {
        // As often as an analysis has named everything that it looks for.
        (self == Self::Analysis && seq % 5 == 4)
            .then(|| json!({ "type": "memory_status", "stable": true }).to_string())
    }

    /// The end of a reply that had so many chunks.
    pub(crate) fn done(self, asked: &Asked, chunks: u32, whole: &str, hz: Option<f64>) -> String {
        let id = asked.id.as_ref();
        let done = |kind, content| {
            frame(&Done {
                kind,
                id,
                chunks,
                content,
                hz,
            })
        };
        match self {
            Self::Message => frame(&Done {
                kind: "done",
                id,
                chunks,
                content: None,
                hz: None,
            }),
            Self::StreamEvent => event(&Event {
                kind: "complete",
                data: None,
                message_id: id,
                seq: None,
                chunks: Some(chunks),
            }),
            // Some clients want each frame to say something.
            Self::Token => done("complete", Some(whole)),
            Self::Research => done("response_complete", Some(whole)),
            Self::Analysis => done("analysis_complete", None),
        }
    }

    /// What went wrong.
    pub(crate) fn error(self, id: Option<&Value>, code: &str, text: &str) -> String {
        let kind = "error";
        let error = match self {
            Self::Message => json!({ "type": kind, "id": id, "code": code, "message": text }),
            Self::StreamEvent => json!({
                "type": kind, "content": text, "code": code, "messageId": id, "timestamp": now(),
            }),
            Self::Token | Self::Research | Self::Analysis => {
                json!({ "type": kind, "message": text, "code": code })
            }
        };
        error.to_string()
    }
}

#[derive(Serialize)]
struct Chunk<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    seq: u32,
    content: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    hz: Option<f64>,
}

#[derive(Serialize)]
struct Done<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a Value>,
    chunks: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hz: Option<f64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    chunks: Option<u32>,
}

#[derive(Serialize)]
struct StreamEvent<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    event: &'a Event<'a>,
    timestamp: String,
}

fn frame(frame: &impl Serialize) -> String {
    serde_json::to_string(frame).expect("a frame has texts and numbers alone")
}

fn event(event: &Event<'_>) -> String {
    frame(&StreamEvent {
        kind: "stream_event",
        event,
        timestamp: now(),
    })
}

/// The time of day, as in 2026-11-22T06:00:15.123Z.
fn now() -> String {
    let now = jiff::Timestamp::now();
    format!("{now:.3}")
}

/// What somebody sent, as far as it belongs into an answer.
fn shortened(text: &str) -> String {
    let short: String = text.chars().take(40).collect();
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(id: Value) -> Heard {
        Heard::Message(Asked {
            id: Some(id).filter(|id| !id.is_null()),
        })
    }

    #[test]
    fn messages_of_each_client_are_read() {
        for (dialect, frame, expected) in [
            (
                Dialect::Message,
                r#"{"type":"message","id":"a","content":"hi"}"#,
                asked(json!("a")),
            ),
            (
                Dialect::Message,
                r#"{"type":"message","id":7,"content":""}"#,
                asked(json!(7)),
            ),
            (
                Dialect::StreamEvent,
                r#"{"type":"chat","content":"hi","messageId":"msg_1_2","userId":"user_1","timestamp":1763790000000}"#,
                asked(json!("msg_1_2")),
            ),
            (
                Dialect::StreamEvent,
                r#"{"type":"user_message","content":"hi","timestamp":"2026-11-22T06:00:00Z"}"#,
                asked(Value::Null),
            ),
            (
                Dialect::Token,
                r#"{"type":"chat","message":"hi","timestamp":"2026-11-22T06:00:00Z","sessionId":"s"}"#,
                asked(Value::Null),
            ),
            (
                Dialect::Token,
                r#"{"type":"auth","token":"t"}"#,
                Heard::Token("t".to_owned()),
            ),
            (
                Dialect::Research,
                r#"{"type":"research_query","message":"why","conversation_turn":1}"#,
                asked(Value::Null),
            ),
        ] {
            assert_eq!(dialect.read(frame), Ok(expected), "{frame}");
        }
    }

    #[test]
    fn bad_frames_are_explained() {
        for (dialect, frame, code, text) in [
            (
                Dialect::Message,
                "{",
                "not_json",
                "expected a JSON object: ",
            ),
            (
                Dialect::Message,
                "[1]",
                "not_json",
                "expected a JSON object: ",
            ),
            (
                Dialect::Message,
                r#"{"type":"chat","id":1,"content":"x"}"#,
                "unknown_type",
                "type: got \"chat\"; allowed are message",
            ),
            (
                Dialect::Message,
                r#"{"type":"message","content":"x"}"#,
                "no_id",
                "expected a text or a number as id",
            ),
            (
                Dialect::StreamEvent,
                r#"{"content":"x"}"#,
                "unknown_type",
                "type: got none; allowed are chat, user_message",
            ),
            (
                Dialect::StreamEvent,
                r#"{"type":"chat","content":5}"#,
                "no_content",
                "expected a text as content",
            ),
            (
                Dialect::Token,
                r#"{"type":"chat"}"#,
                "no_content",
                "expected a text as message or content",
            ),
            (
                Dialect::Token,
                r#"{"type":"auth"}"#,
                "no_token",
                "expected a text as \"token\"",
            ),
            (
                Dialect::Analysis,
                r#"{"type":"chat","message":"x"}"#,
                "unknown_type",
                "got a frame of type \"chat\"; this stream sends only",
            ),
        ] {
            let bad = dialect.read(frame).expect_err("frame is bad");
            assert_eq!(bad.code, code, "{frame}");
            assert!(bad.text.starts_with(text), "{}", bad.text);
        }
        let bad = Dialect::Message.read(r#"{"type":"message","id":"a"}"#);
        assert_eq!(bad.expect_err("frame is bad").id, Some(json!("a")));
    }
}
