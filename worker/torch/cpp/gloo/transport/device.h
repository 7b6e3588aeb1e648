// Stands in for a header libtorch does not ship: types ProcessGroupGloo.hpp only points to.
#pragma once
#include <memory>

namespace gloo::transport {
class Device;
class UnboundBuffer {
 public:
  virtual ~UnboundBuffer();
};
}  // namespace gloo::transport
