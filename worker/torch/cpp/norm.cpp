// Batch normalisation with what follows it: an addition and a ReLU. One pass for the statistics, one for all the rest, and as many
// back. On the CPU with the loops of kernels.h, channels last; elsewhere with libtorch's operations.
#include "shim.h"

#include <ATen/ATen.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <optional>
#include <vector>

#include "chunks.h"

namespace {

using at::Tensor;

template <typename T>
struct Stored {
  using Type = T;
};
template <>
struct Stored<at::BFloat16> {
  using Type = m2t::BFloat16;
};

// An activation, [rows, channels] in memory.
struct Activation {
  int64_t rows, channels, rows_a_chunk, n_chunks;

  explicit Activation(const Tensor& x) : channels(x.size(1)) {
    rows = channels == 0 ? 0 : x.numel() / channels;
    rows_a_chunk = std::max<int64_t>(64, m2t::kChunk / std::max<int64_t>(channels, 1));
    n_chunks = (rows + rows_a_chunk - 1) / rows_a_chunk;
  }

  // Calls body(first element, rows, chunk) for each chunk.
  template <typename Body>
  void each(Body body) const {
    m2t::in_chunks(n_chunks, [&](int64_t chunk) {
      const int64_t row = chunk * rows_a_chunk;
      body(row * channels, std::min(rows_a_chunk, rows - row), chunk);
    });
  }
};

Tensor dense(const Tensor& x) {
  return x.dim() == 4 ? x.contiguous(at::MemoryFormat::ChannelsLast) : x.contiguous();
}

bool has_loops(const Tensor& x) {
  const auto kind = x.scalar_type();
  return x.is_cpu() && (kind == at::kFloat || kind == at::kDouble || kind == at::kBFloat16);
}

template <typename Body>
void by_kind(const Tensor& x, Body body) {
  switch (x.scalar_type()) {
    case at::kFloat: return body(m2t::kernels().f32, float(), float());
    case at::kDouble: return body(m2t::kernels().f64, double(), double());
    default: return body(m2t::kernels().bf16, at::BFloat16(), float());
  }
}

template <typename T>
typename Stored<T>::Type* data(const Tensor& x) {
  return x.defined() ? static_cast<typename Stored<T>::Type*>(x.data_ptr()) : nullptr;
}

// Two sums a channel, of all chunks in their order.
struct Sums {
  std::vector<double> first, second, of_chunks;
  int64_t channels;

  explicit Sums(const Activation& of) : first(of.channels), second(of.channels), of_chunks(2 * of.channels * of.n_chunks), channels(of.channels) {}

  double* chunk(int64_t i) { return of_chunks.data() + 2 * channels * i; }

  void add_up() {
    for (size_t at = 0; at < of_chunks.size(); at += 2 * channels) {
      for (int64_t c = 0; c < channels; ++c) {
        first[c] += of_chunks[at + c];
        second[c] += of_chunks[at + channels + c];
      }
    }
  }
};

struct Moments {
  std::vector<double> mean, variance;
};

// Mean and biased variance of each channel of a dense x.
Moments moments_of(const Tensor& x) {
  const Activation shape(x);
  Moments found{std::vector<double>(shape.channels), std::vector<double>(shape.channels)};
  by_kind(x, [&](const auto& loops, auto element, auto accumulator) {
    using T = decltype(element);
    using A = decltype(accumulator);
    // Around the first row: a plain sum of squares cancels.
    std::vector<A> around(shape.channels);
    const T* first_row = static_cast<const T*>(x.data_ptr());
    for (int64_t c = 0; c < shape.channels; ++c) around[c] = static_cast<A>(first_row[c]);
    Sums sums(shape);
    shape.each([&](int64_t at, int64_t rows, int64_t chunk) {
      double* to = sums.chunk(chunk);
      loops.moments(data<T>(x) + at, rows, shape.channels, around.data(), to, to + shape.channels);
    });
    sums.add_up();
    for (int64_t c = 0; c < shape.channels; ++c) {
      const double off = sums.first[c] / shape.rows;
      found.mean[c] = around[c] + off;
      found.variance[c] = std::max(sums.second[c] / shape.rows - off * off, 0.0);
    }
  });
  return found;
}

// A vector of a value a channel as doubles, and back.
std::vector<double> values(const Tensor& x) {
  const Tensor doubles = x.to(at::kDouble).contiguous();
  const double* from = doubles.const_data_ptr<double>();
  return std::vector<double>(from, from + doubles.numel());
}

void assign(const Tensor& to, const std::vector<double>& from) {
  to.copy_(at::from_blob(const_cast<double*>(from.data()), {static_cast<int64_t>(from.size())}, at::kDouble));
}

template <typename A>
struct Scaling {
  std::vector<A> scale, shift;

  Scaling(const std::vector<double>& weight, const std::vector<double>& bias, const std::vector<double>& mean,
          const std::vector<double>& variance, double epsilon)
      : scale(mean.size()), shift(mean.size()) {
    for (size_t c = 0; c < mean.size(); ++c) {
      const double factor = weight[c] / std::sqrt(variance[c] + epsilon);
      scale[c] = static_cast<A>(factor);
      shift[c] = static_cast<A>(bias[c] - mean[c] * factor);
    }
  }

  m2t::Affine<A> affine() const { return {scale.data(), shift.data()}; }
};

// y may be x.
void normalise_into(const Tensor& y, const Tensor& x, const Tensor& weight, const Tensor& bias, const Moments& by, double epsilon,
                    const Tensor& residual, bool rectified) {
  const Activation shape(x);
  by_kind(x, [&](const auto& loops, auto element, auto accumulator) {
    using T = decltype(element);
    const Scaling<decltype(accumulator)> scaling(values(weight), values(bias), by.mean, by.variance, epsilon);
    shape.each([&](int64_t at, int64_t rows, int64_t) {
      const auto* beside = data<T>(residual);
      loops.normalise(data<T>(x) + at, beside ? beside + at : nullptr, data<T>(y) + at, rows, shape.channels, scaling.affine(),
                      rectified);
    });
  });
}

Tensor with_what_follows(Tensor y, const Tensor& residual, bool rectified) {
  if (residual.defined()) y = y + residual;
  return rectified ? y.relu_() : y;
}

// The student's, with its way back.
class BatchNorm : public torch::autograd::Function<BatchNorm> {
 public:
  static Tensor forward(torch::autograd::AutogradContext* context, const Tensor& input, const Tensor& weight, const Tensor& bias,
                        const std::optional<Tensor>& beside, const Tensor& running_mean, const Tensor& running_variance,
                        double momentum, double epsilon, bool rectified) {
    const Tensor x = dense(input);
    const Tensor residual = beside ? dense(*beside) : Tensor();
    const Moments found = moments_of(x);
    Tensor y = at::empty_like(x);
    normalise_into(y, x, weight, bias, found, epsilon, residual, rectified);

    const double n = static_cast<double>(x.numel()) / x.size(1);
    std::vector<double> mean = values(running_mean), variance = values(running_variance);
    for (size_t c = 0; c < mean.size(); ++c) {
      mean[c] = (1 - momentum) * mean[c] + momentum * found.mean[c];
      variance[c] = (1 - momentum) * variance[c] + momentum * found.variance[c] * n / (n - 1);
    }
    assign(running_mean, mean);
    assign(running_variance, variance);

    // With a residual the mask of the ReLU is not in x alone.
    const bool keeps_y = rectified && residual.defined();
    context->save_for_backward({x, weight, bias, keeps_y ? y : Tensor(), as_tensor(found.mean), as_tensor(found.variance)});
    context->saved_data["epsilon"] = epsilon;
    context->saved_data["rectified"] = rectified;
    context->saved_data["residual"] = residual.defined();
    return y;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context, torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &y = saved[3];
    const Moments found{values(saved[4]), values(saved[5])};
    const double epsilon = context->saved_data["epsilon"].toDouble();
    const bool rectified = context->saved_data["rectified"].toBool(), has_residual = context->saved_data["residual"].toBool();
    const Tensor dy = dense(gradients[0]);
    const Tensor g = y.defined() ? at::empty_like(x) : Tensor();
    Tensor dx = at::empty_like(x);
    std::vector<double> dweight, dbias;
    const Activation shape(x);
    by_kind(x, [&](const auto& loops, auto element, auto accumulator) {
      using T = decltype(element);
      using A = decltype(accumulator);
      const Scaling<A> scaling(values(weight), values(bias), found.mean, found.variance, epsilon);
      const std::vector<A> mean(found.mean.begin(), found.mean.end());
      Sums sums(shape);
      shape.each([&](int64_t at, int64_t rows, int64_t chunk) {
        double* to = sums.chunk(chunk);
        const auto *from = data<T>(y), *into = data<T>(g);
        loops.sums_back(data<T>(dy) + at, from ? from + at : nullptr, data<T>(x) + at, const_cast<typename Stored<T>::Type*>(into ? into + at : nullptr),
                        rows, shape.channels, scaling.affine(), mean.data(), rectified, to, to + shape.channels);
      });
      sums.add_up();
      std::vector<A> slope(shape.channels), level(shape.channels);
      for (int64_t c = 0; c < shape.channels; ++c) {
        const double inverse = 1 / std::sqrt(found.variance[c] + epsilon);
        slope[c] = static_cast<A>(scaling.scale[c] * inverse * inverse * sums.second[c] / shape.rows);
        level[c] = static_cast<A>(scaling.scale[c] * sums.first[c] / shape.rows);
        sums.second[c] *= inverse;
      }
      const Tensor& upper = g.defined() ? g : dy;
      shape.each([&](int64_t at, int64_t rows, int64_t) {
        loops.input_back(data<T>(upper) + at, data<T>(x) + at, data<T>(dx) + at, rows, shape.channels, scaling.affine(), mean.data(),
                         slope.data(), level.data(), rectified && !g.defined());
      });
      dweight = std::move(sums.second);
      dbias = std::move(sums.first);
    });
    const Tensor dresidual = !has_residual ? Tensor() : g.defined() ? g : dy;
    const auto like = [&](const std::vector<double>& gradient) { return as_tensor(gradient).to(weight.scalar_type()); };
    return {dx, like(dweight), like(dbias), dresidual, Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }

 private:
  static Tensor as_tensor(const std::vector<double>& from) {
    Tensor to = at::empty({static_cast<int64_t>(from.size())}, at::kDouble);
    assign(to, from);
    return to;
  }
};

}  // namespace

extern "C" {

// Of x [B, C] or [B, C, H, W]: mean and biased variance a channel, both of the kind of `like`.
char* m2t_moments(at::Tensor* x, at::Tensor* mean, at::Tensor* variance) {
  return m2t::guarded([&] {
    at::NoGradGuard no_gradient;
    RECORD_FUNCTION("m2t::moments", c10::ArrayRef<const c10::IValue>{});
    if (has_loops(*x)) {
      const Moments found = moments_of(dense(*x));
      assign(*mean, found.mean);
      assign(*variance, found.variance);
      return;
    }
    const Tensor zeros = at::zeros_like(*mean), ones = at::ones_like(*variance);
    const auto [of_batch, biased] = at::batch_norm_update_stats(*x, zeros, ones, 1.0);
    mean->copy_(of_batch);
    variance->copy_(biased);
  });
}

// Without a way back; x may be overwritten. `residual` may be null.
char* m2t_normalise(at::Tensor* x, at::Tensor* weight, at::Tensor* bias, at::Tensor* mean, at::Tensor* variance, double epsilon,
                    at::Tensor* residual, uint8_t rectified, at::Tensor** out) {
  return m2t::guarded([&] {
    at::NoGradGuard no_gradient;
    RECORD_FUNCTION("m2t::normalise", c10::ArrayRef<const c10::IValue>{});
    const Tensor beside = residual ? *residual : Tensor();
    if (has_loops(*x)) {
      const Tensor y = dense(*x);
      normalise_into(y, y, *weight, *bias, {values(*mean), values(*variance)}, epsilon, beside.defined() ? dense(beside) : beside, rectified);
      *out = new Tensor(y);
      return;
    }
    const Tensor y = at::batch_norm(*x, *weight, *bias, *mean, *variance, false, 0.0, epsilon, true);
    *out = new Tensor(with_what_follows(y, beside, rectified));
  });
}

char* m2t_batch_norm(at::Tensor* x, at::Tensor* weight, at::Tensor* bias, at::Tensor* running_mean, at::Tensor* running_variance,
                     double momentum, double epsilon, at::Tensor* residual, uint8_t rectified, at::Tensor** out) {
  return m2t::guarded([&] {
    RECORD_FUNCTION("m2t::batch_norm", c10::ArrayRef<const c10::IValue>{});
    if (has_loops(*x)) {
      const auto beside = residual ? std::optional<Tensor>(*residual) : std::nullopt;
      *out = new Tensor(BatchNorm::apply(*x, *weight, *bias, beside, *running_mean, *running_variance, momentum, epsilon, rectified != 0));
      return;
    }
    const Tensor y = at::batch_norm(*x, *weight, *bias, *running_mean, *running_variance, true, momentum, epsilon, true);
    *out = new Tensor(with_what_follows(y, residual ? *residual : Tensor(), rectified));
  });
}

}  // extern "C"
