// What the two fakes share: streams, a file that calls are written to, and a file that says what is to go wrong.
//
// Both files lie beside the library, so that each copy of it is a world of its own. `calls` gets a line a call, thread number
// first. `control` is read at each call; a line is "CALL MEMBER ACTION [NUMBER...]", MEMBER a number or *.
#pragma once

#include <dlfcn.h>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

namespace {

/// What is queued on it, and what of that is done, in that order. Both fakes see one: a stream is a pointer to it.
struct Stream {
  int number;
  std::atomic<uint64_t> queued{0};
  std::atomic<uint64_t> done{0};
};

int anchor;

/// Where this copy of the library lies.
const std::string& folder() {
  static const std::string path = [] {
    Dl_info info;
    dladdr(&anchor, &info);
    std::string name = info.dli_fname;
    return name.substr(0, name.rfind('/'));
  }();
  return path;
}

/// A line of `calls`, whole also where several threads write.
void note(const char* format, ...) {
  char text[256];
  int n = snprintf(text, sizeof text, "%ld ", syscall(SYS_gettid));
  va_list arguments;
  va_start(arguments, format);
  n += vsnprintf(text + n, sizeof text - n - 1, format, arguments);
  va_end(arguments);
  text[n++] = '\n';
  static const int file = open((folder() + "/calls").c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (write(file, text, n) != n) _exit(99);
}

struct Action {
  std::string name;
  std::vector<long> numbers;
};

/// What this call of this member is to do beside its work.
std::optional<Action> told(const std::string& call, int member = -1) {
  std::ifstream file(folder() + "/control");
  std::string line;
  while (std::getline(file, line)) {
    std::istringstream words(line);
    std::string of_call, of_member;
    Action action;
    words >> of_call >> of_member >> action.name;
    for (long number; words >> number;) action.numbers.push_back(number);
    if (of_call == call && (of_member == "*" || of_member == std::to_string(member))) return action;
  }
  return std::nullopt;
}

/// Never comes back.
[[noreturn]] void hang() {
  for (;;) pause();
}

/// Says the code of "fail CODE", if that is what is told; hangs where that is told.
int failure(const std::string& call, int member = -1) {
  auto action = told(call, member);
  if (!action) return 0;
  if (action->name == "block") hang();
  return action->name == "fail" ? static_cast<int>(action->numbers.at(0)) : 0;
}

}  // namespace

#define ENTRY extern "C" __attribute__((visibility("default")))
