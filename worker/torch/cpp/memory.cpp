// Keeps large blocks of the CPU's memory for the next tensor of their size.
//
// A step asks for the same sizes again and again. Given back to the system each time, every page is fetched and zeroed anew: a tenth of
// a step. What is kept and unused is bounded by what was once in use at the same time.
#include "shim.h"

#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/alloc_cpu.h>
#include <sys/mman.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

constexpr size_t kSmall = 1 << 20;
constexpr size_t kHugePage = 2 << 20;

// Up to the next eighth of a power of two.
size_t rounded(size_t n) {
  size_t eighth = kSmall / 8;
  while (eighth * 16 <= n) eighth *= 2;
  return (n + eighth - 1) / eighth * eighth;
}

class Keeper final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t n) override {
    void* block = n < kSmall ? c10::alloc_cpu(n) : large(rounded(n));
    return {block, block, &give_back, c10::Device(c10::DeviceType::CPU)};
  }

  c10::DeleterFnPtr raw_deleter() const override { return &give_back; }

  void copy_data(void* to, const void* from, size_t n) const override { default_copy_data(to, from, n); }

  static Keeper& instance() {
    // Never destroyed: tensors of statics outlive it else.
    static Keeper* keeper = new Keeper;
    return *keeper;
  }

 private:
  std::mutex mutex_;
  std::unordered_map<void*, size_t> sizes_;
  std::map<size_t, std::vector<void*>> unused_;
  size_t n_used_ = 0, n_unused_ = 0, most_used_ = 0;

  void* large(size_t n) {
    std::lock_guard<std::mutex> lock(mutex_);
    n_used_ += n;
    most_used_ = std::max(most_used_, n_used_);
    auto of_size = unused_.find(n);
    if (of_size != unused_.end() && !of_size->second.empty()) {
      void* block = of_size->second.back();
      of_size->second.pop_back();
      n_unused_ -= n;
      return block;
    }
    // What other sizes have too much goes, the largest first.
    for (auto kept = unused_.rbegin(); kept != unused_.rend() && n_used_ + n_unused_ > most_used_ + most_used_ / 8; ++kept) {
      while (!kept->second.empty() && n_used_ + n_unused_ > most_used_ + most_used_ / 8) {
        free_block(kept->second.back());
        kept->second.pop_back();
        n_unused_ -= kept->first;
      }
    }
    void* block = nullptr;
    if (posix_memalign(&block, n < kHugePage ? 64 : kHugePage, n) != 0) {
      n_used_ -= n;
      throw std::runtime_error("no memory for a tensor of " + std::to_string(n) + " bytes; lower the batch");
    }
    if (n >= kHugePage) madvise(block, n, MADV_HUGEPAGE);
    sizes_[block] = n;
    return block;
  }

  void free_block(void* block) {
    sizes_.erase(block);
    free(block);
  }

  static void give_back(void* block) {
    Keeper& keeper = instance();
    {
      std::lock_guard<std::mutex> lock(keeper.mutex_);
      auto size = keeper.sizes_.find(block);
      if (size != keeper.sizes_.end()) {
        keeper.unused_[size->second].push_back(block);
        keeper.n_used_ -= size->second;
        keeper.n_unused_ += size->second;
        return;
      }
    }
    c10::free_cpu(block);
  }
};

}  // namespace

extern "C" {

// From the next tensor on. Blocks made before are freed as before.
char* m2t_keep_memory() {
  return m2t::guarded([] { c10::SetCPUAllocator(&Keeper::instance(), 1); });
}

}  // extern "C"
