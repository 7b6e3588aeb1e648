// A libnccl.so.2 whose members are threads of one process. It really combines what lies in host memory, does what `control` says,
// and writes VIOLATION where a rule of nonblocking communicators is broken: a call while the last is in progress, two threads inside
// with one communicator, a call after the abort, an id used twice, no CUDA context, a destroy.
//
// As with NCCL, an operation of a group that lost a member never ends by itself.
#include "fake.h"

#include <algorithm>

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

namespace {
constexpr int SUCCESS = 0, IN_PROGRESS = 7;

struct Id {
  char bytes[128];
};

struct Config {
  size_t size;
  unsigned magic;
  unsigned version;
  int blocking;
};

struct World;

struct Comm {
  World* world;
  int member;
  uint64_t n_operations = 0;
  bool never_joins = false;
  bool aborted = false;
  Clock::time_point busy_until = Clock::now();
  std::atomic<int> n_inside{0};
  std::vector<Stream*> streams;
};

struct Part {
  Comm* comm;
  const void* from;
  void* to;
  Stream* stream;
};

struct Round {
  size_t count;
  int datatype;
  int op = -1;
  int root = -1;
  bool hangs = false;
  Clock::time_point ready = Clock::now();
  std::vector<Part> parts;
};

struct World {
  int size;
  std::vector<Comm*> members;
  std::map<uint64_t, Round> rounds;
};

std::mutex mutex;  // of all that follows, and of what it points to
std::map<std::string, World*> worlds;
thread_local int depth = 0;
thread_local std::vector<Comm*> to_abort;

void violation(const char* call, int member, const char* what) { note("VIOLATION %s %d: %s", call, member, what); }

/// A thread is inside with this communicator.
class Inside {
 public:
  Inside(Comm* comm, const char* call) : comm_(comm) {
    if (comm_->n_inside++ != 0) violation(call, comm_->member, "another thread is inside");
    if (comm_->aborted) violation(call, comm_->member, "it was aborted");
  }
  ~Inside() { comm_->n_inside--; }

 private:
  Comm* comm_;
};

void need_context(const char* call, int member) {
  static const auto current = [] {
    void* cuda = dlopen((folder() + "/libcuda.so.1").c_str(), RTLD_NOW);
    return reinterpret_cast<void* (*)()>(dlsym(cuda, "fake_current"));
  }();
  if (!current()) violation(call, member, "the thread has no CUDA context");
}

int state(Comm* comm) {
  std::lock_guard<std::mutex> lock(mutex);
  auto action = told("ncclCommGetAsyncError", comm->member);
  if (action && action->name == "state") return static_cast<int>(action->numbers.at(0));
  bool whole = static_cast<int>(comm->world->members.size()) == comm->world->size;
  bool busy = comm->never_joins || !whole || Clock::now() < comm->busy_until;
  return busy ? IN_PROGRESS : SUCCESS;
}

/// After each call NCCL is busy for a while, if told.
void busy(Comm* comm) {
  auto action = told("busy", comm->member);
  if (!action) return;
  comm->busy_until = Clock::now() + Milliseconds(action->numbers.at(0));
}

float widened(uint16_t bits) {
  uint32_t wide = static_cast<uint32_t>(bits) << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}

uint16_t narrowed(float value) {  // exact for the small integers of the tests
  uint32_t wide;
  memcpy(&wide, &value, 4);
  return static_cast<uint16_t>(wide >> 16);
}

template <typename T>
T combine(T a, T b, int op) {
  return op == 0 ? static_cast<T>(a + b) : std::max(a, b);
}

template <typename T>
void reduce(const Round& round) {
  std::vector<T> total(round.count);
  for (size_t p = 0; p < round.parts.size(); ++p) {
    auto* from = static_cast<const T*>(round.parts[p].from);
    for (size_t i = 0; i < round.count; ++i) total[i] = p == 0 ? from[i] : combine(total[i], from[i], round.op);
  }
  for (auto& part : round.parts) std::copy(total.begin(), total.end(), static_cast<T*>(part.to));
}

void reduce_bf16(const Round& round) {
  std::vector<float> total(round.count);
  for (size_t p = 0; p < round.parts.size(); ++p) {
    auto* from = static_cast<const uint16_t*>(round.parts[p].from);
    for (size_t i = 0; i < round.count; ++i)
      total[i] = p == 0 ? widened(from[i]) : combine(total[i], widened(from[i]), round.op);
  }
  for (auto& part : round.parts)
    for (size_t i = 0; i < round.count; ++i) static_cast<uint16_t*>(part.to)[i] = narrowed(total[i]);
}

size_t width(int datatype) {
  switch (datatype) {
    case 1: return 1;
    case 9: return 2;
    case 2: case 7: return 4;
    default: return 8;
  }
}

void perform(Round& round) {
  if (round.root >= 0) {
    std::vector<char> given(round.count * width(round.datatype));
    for (auto& part : round.parts)
      if (part.comm->member == round.root) memcpy(given.data(), part.from, given.size());
    for (auto& part : round.parts) memcpy(part.to, given.data(), given.size());
    return;
  }
  switch (round.datatype) {
    case 1: return reduce<uint8_t>(round);
    case 2: return reduce<int32_t>(round);
    case 4: return reduce<int64_t>(round);
    case 7: return reduce<float>(round);
    case 8: return reduce<double>(round);
    case 9: return reduce_bf16(round);
    default: note("VIOLATION datatype %d", round.datatype);
  }
}

/// Performs, in their order, the rounds that all members are in.
void pump(World* world) {
  while (!world->rounds.empty()) {
    Round& round = world->rounds.begin()->second;
    bool whole = static_cast<int>(round.parts.size()) == world->size;
    bool lost = std::any_of(world->members.begin(), world->members.end(), [](Comm* c) { return c->aborted; });
    if (!whole || lost || round.hangs) return;
    auto wait = round.ready - Clock::now();
    if (wait > Clock::duration::zero()) {
      std::thread([world, wait] {
        std::this_thread::sleep_for(wait);
        std::lock_guard<std::mutex> lock(mutex);
        pump(world);
      }).detach();
      return;
    }
    perform(round);
    for (auto& part : round.parts) part.stream->done++;
    world->rounds.erase(world->rounds.begin());
  }
}

int enqueue(const char* call, Comm* comm, Stream* stream, Round wanted, const void* from, void* to) {
  note("%s %d: %zu of type %d, %s %d, stream %d", call, comm->member, wanted.count, wanted.datatype,
       wanted.root >= 0 ? "root" : "op", wanted.root >= 0 ? wanted.root : wanted.op, stream->number);
  Inside inside(comm, call);
  need_context(call, comm->member);
  if (state(comm) == IN_PROGRESS) violation(call, comm->member, "the call before is in progress");
  if (int code = failure(call, comm->member)) return code;
  std::lock_guard<std::mutex> lock(mutex);
  busy(comm);
  World* world = comm->world;
  Round& round = world->rounds.try_emplace(comm->n_operations++, wanted).first->second;
  if (round.count != wanted.count || round.datatype != wanted.datatype || round.op != wanted.op || round.root != wanted.root)
    violation(call, comm->member, "the members do not agree");
  if (auto action = told(call, comm->member)) {
    round.hangs |= action->name == "hang";
    if (action->name == "lag") round.ready = Clock::now() + Milliseconds(action->numbers.at(0));
  }
  stream->queued++;
  if (std::find(comm->streams.begin(), comm->streams.end(), stream) == comm->streams.end()) comm->streams.push_back(stream);
  round.parts.push_back(Part{comm, from, to, stream});
  pump(world);
  return IN_PROGRESS;
}

int end(Comm* comm) {
  Inside inside(comm, "ncclCommAbort");
  need_context("ncclCommAbort", comm->member);
  auto action = told("ncclCommAbort", comm->member);
  if (action && action->name == "hang") hang();
  if (action && action->name == "hang_alone" && depth == 0 && to_abort.empty()) hang();
  if (action && action->name == "fail") return static_cast<int>(action->numbers.at(0));
  std::lock_guard<std::mutex> lock(mutex);
  comm->aborted = true;
  // The kernels of this member leave.
  for (Stream* stream : comm->streams) stream->done = stream->queued.load();
  return SUCCESS;
}
}  // namespace

ENTRY int ncclGetVersion(int* version) noexcept {
  auto action = told("ncclGetVersion");
  *version = action ? static_cast<int>(action->numbers.at(0)) : 23004;
  return SUCCESS;
}

ENTRY const char* ncclGetErrorString(int code) noexcept {
  return code == 6 ? "remote process exited or there was a network error" : "an error of the fake";
}

ENTRY const char* ncclGetLastError(Comm*) noexcept { return "no more is known\nand this is a second line"; }

ENTRY int ncclGetUniqueId(Id* id) noexcept {
  if (int code = failure("ncclGetUniqueId")) return code;
  static std::atomic<int> n{0};
  memset(id, 0xa5, sizeof *id);
  snprintf(id->bytes, sizeof id->bytes, "fake %d", ++n);
  note("ncclGetUniqueId");
  return SUCCESS;
}

ENTRY int ncclCommInitRankConfig(Comm** out, int size, Id id, int member, Config* config) noexcept {
  const char* call = "ncclCommInitRankConfig";
  note("%s %d of %d", call, member, size);
  need_context(call, member);
  if (config->magic != 0xcafebeef || config->blocking != 0 || config->size != 40 || config->version != 21700)
    violation(call, member, "the configuration");
  if (int code = failure(call, member)) return code;
  std::lock_guard<std::mutex> lock(mutex);
  World*& world = worlds[std::string(id.bytes, sizeof id.bytes)];
  if (!world) world = new World{size, {}, {}};
  if (world->size != size) violation(call, member, "another size");
  for (Comm* other : world->members)
    if (other->member == member) violation(call, member, "the id was used before");
  auto* comm = new Comm{};
  comm->world = world;
  comm->member = member;
  auto action = told(call, member);
  comm->never_joins = action && action->name == "hang";
  world->members.push_back(comm);
  busy(comm);
  *out = comm;
  return IN_PROGRESS;
}

ENTRY int ncclCommGetAsyncError(Comm* comm, int* out) noexcept {
  Inside inside(comm, "ncclCommGetAsyncError");
  *out = state(comm);
  return SUCCESS;
}

ENTRY int ncclAllReduce(const void* from, void* to, size_t count, int datatype, int op, Comm* comm, Stream* stream) noexcept {
  Round round{};
  round.count = count;
  round.datatype = datatype;
  round.op = op;
  return enqueue("ncclAllReduce", comm, stream, round, from, to);
}

ENTRY int ncclBroadcast(const void* from, void* to, size_t count, int datatype, int root, Comm* comm, Stream* stream) noexcept {
  Round round{};
  round.count = count;
  round.datatype = datatype;
  round.root = root;
  return enqueue("ncclBroadcast", comm, stream, round, from, to);
}

ENTRY int ncclCommFinalize(Comm* comm) noexcept {
  note("ncclCommFinalize %d", comm->member);
  Inside inside(comm, "ncclCommFinalize");
  if (state(comm) == IN_PROGRESS) violation("ncclCommFinalize", comm->member, "the call before is in progress");
  std::lock_guard<std::mutex> lock(mutex);
  for (Stream* stream : comm->streams)
    if (stream->done != stream->queued) violation("ncclCommFinalize", comm->member, "operations are not over");
  busy(comm);
  auto action = told("ncclCommFinalize", comm->member);
  comm->never_joins = action && action->name == "hang";
  return IN_PROGRESS;
}

ENTRY int ncclCommAbort(Comm* comm) noexcept {
  note("ncclCommAbort %d", comm->member);
  if (depth == 0) return end(comm);
  to_abort.push_back(comm);
  return SUCCESS;
}

ENTRY int ncclCommDestroy(Comm* comm) noexcept {
  violation("ncclCommDestroy", comm->member, "never");
  return SUCCESS;
}

ENTRY int ncclGroupStart() noexcept {
  note("ncclGroupStart");
  depth++;
  return SUCCESS;
}

ENTRY int ncclGroupEnd() noexcept {
  note("ncclGroupEnd");
  depth--;
  int result = SUCCESS;
  for (Comm* comm : to_abort)
    if (int code = end(comm)) result = code;
  to_abort.clear();
  return result;
}
