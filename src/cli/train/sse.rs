//! Server-sent events
//! (<https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation>).

use std::io::{self, BufRead, BufReader, Read};

/// One event.
#[derive(Debug, Default, PartialEq)]
pub struct Event {
    pub name: String,
    pub data: String,
    /// Where it has one.
    pub id: Option<String>,
}

/// The events of a stream, as they come.
pub struct Events<R>(BufReader<R>);

impl<R: Read> Events<R> {
    pub fn of(stream: R) -> Events<R> {
        Events(BufReader::new(stream))
    }
}

impl<R: Read> Iterator for Events<R> {
    type Item = io::Result<Event>;

    /// The next event; none of which the end did not come.
    fn next(&mut self) -> Option<io::Result<Event>> {
        let mut event = Event::default();
        let mut line = String::new();
        loop {
            line.clear();
            match self.0.read_line(&mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(Err(error)),
            }
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                if event != Event::default() {
                    return Some(Ok(event));
                }
                continue;
            }
            let (field, value) = line.split_once(':').unwrap_or((line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value);
            match field {
                "event" => value.clone_into(&mut event.name),
                "id" => event.id = Some(value.to_owned()),
                "data" if event.data.is_empty() => value.clone_into(&mut event.data),
                "data" => event.data += &format!("\n{value}"),
                // A comment, which keeps the connection alive, or something of the future.
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_told_from_comments_and_from_what_broke_off() {
        let stream = "event: state\ndata: {}\n\n:\n\n: still here\n\nevent:epoch\r\nid: 7\r\n\
            data: a\r\ndata: b\r\n\r\nevent: end\ndata: cut";
        let events: io::Result<Vec<Event>> = Events::of(stream.as_bytes()).collect();
        let event = |name: &str, data: &str, id: Option<&str>| Event {
            name: name.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        };
        assert_eq!(
            events.unwrap(),
            [event("state", "{}", None), event("epoch", "a\nb", Some("7"))]
        );
    }
}
