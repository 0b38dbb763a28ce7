//! Why the fused encoder does not run.

/// What the CPU, or the system, lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the fused encoder needs AMX-BF16, or AVX512-BF16, on an x86-64 CPU; {0}")]
pub struct Missing(pub(super) String);

/// What about a model does not fit the matrix instructions' tiles.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("its hidden size is {0}; the fused encoder takes multiples of 32 from 32 to 1024")]
    Hidden(usize),
    #[error("its intermediate size is {0}; the fused encoder takes multiples of 32")]
    Intermediate(usize),
    #[error("its attention heads are {0} wide; the fused encoder takes 32 and 64")]
    HeadWidth(usize),
    #[error("it has {0} layers; the fused encoder takes 1 to 24")]
    Layers(usize),
    #[error("it takes {0} tokens; the fused encoder takes up to 512")]
    Positions(usize),
    #[error("its weights are not of the sizes that its shape says")]
    Weights,
    #[error("its activation is not GELU through the error function")]
    Activation,
}

/// Why a batch was refused. Nothing was read or written then.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    #[error("token {position} has the id {id}; the vocabulary ends at {vocabulary}")]
    Token { position: usize, id: u32, vocabulary: usize },
    #[error("sentence {sentence} has {tokens} tokens; allowed are 1 to {longest}")]
    Length { sentence: usize, tokens: usize, longest: usize },
    #[error("sentence {sentence} ends at {end}, before it begins or beyond the {tokens} tokens")]
    End { sentence: usize, end: usize, tokens: usize },
    #[error("the sentences end at {end}, but there are {tokens} tokens")]
    Rest { end: usize, tokens: usize },
    #[error("there is room for {found} values, not for the {needed} of the vectors")]
    Room { found: usize, needed: usize },
}
