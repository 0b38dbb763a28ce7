//! A guide's commands and what it shows of their output, read from its Markdown.

/// Commands that stand in one fence.
#[derive(Debug, PartialEq)]
pub struct Block {
    /// Where the commands begin, for who has to mend them.
    pub line: usize,
    pub usage: Use,
    pub commands: String,
    pub shown: Option<Shown>,
}

#[derive(Debug, PartialEq)]
pub enum Use {
    Run,
    /// Run where this program is installed.
    Needs(String),
    /// Not run, for this reason.
    NotRun(String),
}

/// The output that a guide shows.
#[derive(Debug, PartialEq)]
pub enum Shown {
    /// The last value that is printed.
    Json(String),
    /// All lines.
    Text(String),
}

impl Block {
    pub fn first_command(&self) -> &str {
        self.commands.lines().next().unwrap_or_default()
    }
}

/// The blocks of a guide, in order.
pub fn blocks(guide: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut is_directly_behind = false;
    let mut lines = (1..).zip(guide.lines());
    while let Some((number, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else {
            is_directly_behind &= line.trim().is_empty();
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let body: String = lines
            .by_ref()
            .map(|(_, line)| line.get(indent..).unwrap_or_default())
            .take_while(|line| !line.starts_with("```"))
            .map(|line| format!("{line}\n"))
            .collect();
        let before = if is_directly_behind { blocks.last_mut() } else { None };
        is_directly_behind = false;
        match (usage(info), before) {
            (Some(usage), _) => {
                blocks.push(Block { line: number + 1, usage, commands: body, shown: None });
                is_directly_behind = true;
            }
            (None, Some(before)) if info == "json" => before.shown = Some(Shown::Json(body)),
            (None, Some(before)) if info == "text" => before.shown = Some(Shown::Text(body)),
            _ => {}
        }
    }
    blocks
}

/// What the info string of a shell's fence asks for; `None` for another language.
fn usage(info: &str) -> Option<Use> {
    let (language, rest) = info.split_once(' ').unwrap_or((info, ""));
    if language != "sh" {
        return None;
    }
    if let Some(why) = rest.strip_prefix("not run: ") {
        return Some(Use::NotRun(why.to_owned()));
    }
    if let Some(program) = rest.strip_prefix("needs ") {
        return Some(Use::Needs(program.to_owned()));
    }
    assert_eq!(rest, "", "```{info} is none of: sh, sh needs PROGRAM, sh not run: WHY");
    Some(Use::Run)
}

#[test]
fn a_fence_is_read_with_its_use_and_the_output_behind_it() {
    let guide = "# Title\n```sh\na\nb\n```\n\n```json\n{}\n```\n- an item\n  ```sh not run: needs c\n  c\n  ```\nText.\n```text\nnot d's\n```\n```sh needs d\nd\n```\n```text\n1\n```\n```toml\nx = 1\n```\n";
    let block = |line, usage, commands: &str, shown| Block {
        line,
        usage,
        commands: commands.to_owned(),
        shown,
    };
    let expected = [
        block(3, Use::Run, "a\nb\n", Some(Shown::Json("{}\n".to_owned()))),
        block(12, Use::NotRun("needs c".to_owned()), "c\n", None),
        block(19, Use::Needs("d".to_owned()), "d\n", Some(Shown::Text("1\n".to_owned()))),
    ];
    assert_eq!(blocks(guide), expected);
}
