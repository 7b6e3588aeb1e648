// Stands in for a header libtorch does not ship: what ProcessGroupGloo.hpp names of gloo's Context.
#pragma once
#include <chrono>

namespace gloo {
class Context {
 public:
  void setTimeout(std::chrono::milliseconds timeout);
};
}  // namespace gloo
