//! Linear layers in 8 bits.
//!
//! y = x W + b with one scale for each output of W (symmetric, s8) and one for each token of x,
//! computed during the call (u8): what ONNX Runtime's integer kernels are fastest with. A scale for
//! each token, rather than one for all as in `DynamicQuantizeLinear`, is what keeps an embedding
//! independent of its batch, and it is the more accurate one.
//!
//! The few inputs that are far [wider](super::sample) than the others stay f32 with their weights:
//! else they would set the scale, and leave next to nothing of 8 bits for all the rest.

use super::{
    Exporter,
    config::Activation,
    sample::Peaks,
    weights::{LayerWeights, Linear},
};
use crate::onnx::graph::{Attribute, Value};

/// The largest magnitude of a weight. -128 is left out, so that the range is symmetric.
const LARGEST: f32 = 127.0;

/// What is known of the inputs of a linear layer.
pub(super) struct Inputs {
    /// Those that stay f32, ascending.
    wide: Vec<usize>,
    /// That none is less, where an activation made them.
    least: Option<f32>,
}

/// What is known of the inputs of a layer's matrices.
pub(super) struct LayerInputs {
    pub states: Inputs,
    pub context: Inputs,
    pub middle: Inputs,
    pub activated: Inputs,
}

/// A linear layer in 8 bits.
#[derive(Debug, PartialEq)]
struct QuantizedLinear {
    /// inputs × outputs; 0 for wide inputs.
    weight: Vec<i8>,
    /// For each output, what 1 of its weights stands for.
    scales: Vec<f32>,
    /// wide inputs × outputs.
    wide_weight: Vec<f32>,
    bias: Vec<f32>,
}

impl LayerInputs {
    pub fn new(peaks: &Peaks, activation: Activation) -> Self {
        /// One in so many inputs stays f32. Chosen on all-MiniLM-L6-v2: with fewer, embeddings get
        /// less accurate; with more, only slower.
        const STATES: usize = 12;
        const ACTIVATED: usize = 24;
        // The minimum of GELU is -0.16997, that of its tanh form -0.17004.
        let least = match activation {
            Activation::Gelu | Activation::GeluTanh => -0.1701,
            Activation::Relu => 0.0,
        };
        Self {
            states: Inputs { wide: widest(&peaks.states, STATES), least: None },
            // Sums of values, weighted: none of them is wide.
            context: Inputs { wide: Vec::new(), least: None },
            middle: Inputs { wide: widest(&peaks.middle, STATES), least: None },
            activated: Inputs { wide: widest(&peaks.activated, ACTIVATED), least: Some(least) },
        }
    }
}

impl QuantizedLinear {
    fn new(linear: &Linear, inputs: &Inputs) -> Self {
        let outputs = linear.bias.len();
        let count = linear.weight.len() / outputs;
        let mut quantized = Self {
            weight: vec![0; linear.weight.len()],
            scales: Vec::with_capacity(outputs),
            wide_weight: vec![0.0; inputs.wide.len() * outputs],
            bias: Vec::with_capacity(outputs),
        };
        for (output, row) in linear.weight.chunks_exact(count).enumerate() {
            let mut row = row.to_vec();
            for (place, &input) in inputs.wide.iter().enumerate() {
                quantized.wide_weight[place * outputs + output] = std::mem::take(&mut row[input]);
            }
            let scale = best_scale(&row);
            let mut sum = 0_i32;
            for (input, &weight) in row.iter().enumerate() {
                let weight = round(weight, scale);
                quantized.weight[input * outputs + output] = weight;
                sum += i32::from(weight);
            }
            quantized.scales.push(scale);
            // Inputs come with `least` taken off; here it is put on again.
            let least = inputs.least.unwrap_or(0.0);
            quantized.bias.push(linear.bias[output] + least * scale * sum as f32);
        }
        quantized
    }
}

impl Exporter<'_> {
    /// Queries, keys and values by one matrix, of inputs that are quantised once.
    pub(super) fn quantized_projections(
        &mut self,
        prefix: &str,
        states: &Value,
        weights: &LayerWeights,
        inputs: &Inputs,
    ) -> [Value; 3] {
        let parts = [&weights.query, &weights.key, &weights.value];
        let joined = Linear {
            weight: parts.iter().flat_map(|part| &part.weight).copied().collect(),
            bias: parts.iter().flat_map(|part| &part.bias).copied().collect(),
        };
        let joined = self.quantized_linear(&format!("{prefix}.self"), states, &joined, inputs);
        self.graph.thirds(&joined)
    }

    /// A linear layer in 8 bits, of x: batch × sequence × inputs.
    pub(super) fn quantized_linear(
        &mut self,
        name: &str,
        x: &Value,
        linear: &Linear,
        inputs: &Inputs,
    ) -> Value {
        /// A token whose inputs are all 0 is divided by this.
        const SMALLEST: f32 = f32::MIN_POSITIVE;

        let quantized = QuantizedLinear::new(linear, inputs);
        let outputs = linear.bias.len();
        let count = linear.weight.len() / outputs;
        let mut narrow = x.clone();
        if !inputs.wide.is_empty() {
            let is_narrow = (0..count).map(|input| f32::from(!inputs.wide.contains(&input)));
            let mask: Vec<f32> = is_narrow.collect();
            let mask = self.graph.weight(&format!("{name}.narrow"), &[count], &mask);
            narrow = self.graph.op("Mul", &[&narrow, &mask]);
        }
        // In each case, the range of a token's inputs becomes all that 8 bits can tell apart.
        let (magnitude, step, zero) = match inputs.least {
            Some(least) => {
                let least = self.graph.scalar(least);
                narrow = self.graph.op("Sub", &[&narrow, &least]);
                (narrow.clone(), 1.0 / 255.0, 0)
            }
            None => (self.graph.op("Abs", &[&narrow]), 1.0 / 127.0, 128),
        };
        let last = self.graph.integers(&[-1]);
        let range = self.graph.op("ReduceMax", &[&magnitude, &last]);
        let smallest = self.graph.scalar(SMALLEST);
        let range = self.graph.op("Max", &[&range, &smallest]);
        let narrow = self.graph.op("Div", &[&narrow, &range]);
        let (step_value, zero) = (self.graph.scalar(step), self.graph.byte(zero));
        let narrow = self.graph.op("QuantizeLinear", &[&narrow, &step_value, &zero]);

        let weight_name = format!("{name}.weight");
        let weight = self.graph.bytes(&weight_name, &[count, outputs], &quantized.weight);
        let product = self.graph.op("MatMulInteger", &[&narrow, &weight, &zero]);
        let product = self.cast_to_f32(&product);
        let scales: Vec<f32> = quantized.scales.iter().map(|scale| scale * step).collect();
        let scales = self.graph.weight(&format!("{name}.scale"), &[outputs], &scales);
        let product = self.graph.op("Mul", &[&product, &scales]);
        let mut product = self.graph.op("Mul", &[&product, &range]);

        if !inputs.wide.is_empty() {
            let wide: Vec<i64> = inputs.wide.iter().map(|&input| input as i64).collect();
            let rows = wide.len();
            let wide = self.graph.integers(&wide);
            let wide = self.graph.op_with("Gather", &[x, &wide], &[Attribute::Int("axis", -1)]);
            let name = format!("{name}.wide");
            let weight = self.graph.weight(&name, &[rows, outputs], &quantized.wide_weight);
            let wide = self.graph.op("MatMul", &[&wide, &weight]);
            product = self.graph.op("Add", &[&product, &wide]);
        }
        let bias = self.graph.weight(&format!("{name}.bias"), &[outputs], &quantized.bias);
        self.graph.op("Add", &[&product, &bias])
    }
}

/// The inputs with the highest peaks, one in `of`, in ascending order.
fn widest(peaks: &[f32], of: usize) -> Vec<usize> {
    let mut inputs: Vec<usize> = (0..peaks.len()).collect();
    inputs.sort_by(|&a, &b| peaks[b].total_cmp(&peaks[a]));
    inputs.truncate(peaks.len() / of);
    inputs.sort_unstable();
    inputs
}

/// The scale with the least sum of squared errors, among some that cut off the largest weights.
fn best_scale(row: &[f32]) -> f32 {
    const CANDIDATES: [f32; 5] = [1.0, 0.95, 0.9, 0.85, 0.8];

    let largest = row.iter().fold(0.0_f32, |largest, weight| largest.max(weight.abs()));
    if largest == 0.0 {
        return 1.0;
    }
    let error = |scale: f32| -> f32 {
        let difference = |&weight: &f32| weight - scale * f32::from(round(weight, scale));
        row.iter().map(|weight| difference(weight).powi(2)).sum()
    };
    let scales = CANDIDATES.map(|share| share * largest / LARGEST);
    let errors = scales.map(|scale| (error(scale), scale));
    errors.into_iter().min_by(|a, b| a.0.total_cmp(&b.0)).map_or(1.0, |(_, scale)| scale)
}

fn round(weight: f32, scale: f32) -> i8 {
    (weight / scale).round().clamp(-LARGEST, LARGEST) as i8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_symmetric_with_a_scale_for_each_output() {
        let linear = Linear { weight: vec![1.0, -2.0, 0.5, 0.25], bias: vec![3.0, 4.0] };
        let inputs = Inputs { wide: Vec::new(), least: None };
        let quantized = QuantizedLinear::new(&linear, &inputs);
        let of = |input: usize, output: usize| {
            f32::from(quantized.weight[input * 2 + output]) * quantized.scales[output]
        };
        for (output, row) in linear.weight.chunks_exact(2).enumerate() {
            for (input, &weight) in row.iter().enumerate() {
                assert!((of(input, output) - weight).abs() <= quantized.scales[output] / 2.0);
            }
        }
        assert_eq!(quantized.bias, linear.bias);
        assert!(quantized.scales[0] > 3.0 * quantized.scales[1]);
    }

    #[test]
    fn wide_inputs_stay_as_they_are_and_do_not_set_the_scale() {
        let linear = Linear { weight: vec![0.1, 90.0, -0.2], bias: vec![0.0] };
        let inputs = Inputs { wide: vec![1], least: None };
        let quantized = QuantizedLinear::new(&linear, &inputs);
        assert_eq!(quantized.wide_weight, [90.0]);
        assert_eq!(quantized.weight[1], 0);
        assert!(quantized.scales[0] <= 0.2 / 127.0);
    }

    #[test]
    fn what_is_taken_off_the_inputs_is_put_on_the_bias() {
        let linear = Linear { weight: vec![1.0, 0.5, -0.25], bias: vec![2.0] };
        let inputs = Inputs { wide: vec![0], least: Some(-0.5) };
        let quantized = QuantizedLinear::new(&linear, &inputs);
        // The wide weight, 1, takes no part: 2 − 0.5 (0.5 − 0.25), to within two half steps.
        let error = (quantized.bias[0] - 1.875).abs();
        assert!(error <= 0.5 * quantized.scales[0], "{error}");
    }

    #[test]
    fn an_output_without_weights_has_a_scale_nevertheless() {
        let linear = Linear { weight: vec![0.0; 3], bias: vec![1.0] };
        let quantized = QuantizedLinear::new(&linear, &Inputs { wide: Vec::new(), least: None });
        assert_eq!((quantized.weight, quantized.scales), (vec![0; 3], vec![1.0]));
    }

    #[test]
    fn the_widest_inputs_are_those_with_the_highest_peaks() {
        assert_eq!(widest(&[1.0, 9.0, 2.0, 3.0, 7.0, 0.0], 3), [1, 4]);
        assert!(widest(&[1.0, 9.0], 3).is_empty());
    }
}
