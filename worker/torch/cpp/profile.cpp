// Where the time goes: each operation's own time, without that of the operations inside it, on the thread that asked for it.
#include "shim.h"

#include <ATen/record_function.h>

#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

struct Spent {
  double seconds = 0;
  int64_t calls = 0;
};

std::mutex mutex;
std::map<std::string, Spent> spent;
at::CallbackHandle handle = 0;

// Seconds spent inside the operations that a running one called, one entry a running operation of this thread.
thread_local std::vector<double> inside;

struct Began : at::ObserverContext {
  Clock::time_point at = Clock::now();
};

std::unique_ptr<at::ObserverContext> begin(const at::RecordFunction&) {
  inside.push_back(0);
  return std::make_unique<Began>();
}

void end(const at::RecordFunction& function, at::ObserverContext* context) {
  const double seconds = std::chrono::duration<double>(Clock::now() - static_cast<Began*>(context)->at).count();
  if (inside.empty()) return;
  const double own = seconds - inside.back();
  inside.pop_back();
  if (!inside.empty()) inside.back() += seconds;
  std::lock_guard<std::mutex> lock(mutex);
  Spent& of_name = spent[function.name()];
  of_name.seconds += own;
  of_name.calls += 1;
}

}  // namespace

extern "C" {

char* m2t_profile_begin() {
  return m2t::guarded([] {
    std::lock_guard<std::mutex> lock(mutex);
    spent.clear();
    handle = at::addGlobalCallback(at::RecordFunctionCallback(begin, end));
  });
}

// Calls back for each name; `name` is the callee's for the call only.
char* m2t_profile_end(void (*call)(void*, const char* name, double seconds, int64_t calls), void* context) {
  return m2t::guarded([&] {
    at::removeCallback(handle);
    std::lock_guard<std::mutex> lock(mutex);
    for (const auto& [name, of_name] : spent) call(context, name.c_str(), of_name.seconds, of_name.calls);
  });
}

}  // extern "C"
