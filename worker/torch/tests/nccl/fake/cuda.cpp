// A driver without hardware: contexts, streams and events as counters, and the figures that `control` gives.
// Also what of libtorch's CUDA half is asked for its release.
#include "fake.h"

namespace {
struct Event {
  Stream* stream = nullptr;
  uint64_t over_at = 0;
};

constexpr int INVALID_CONTEXT = 201;
constexpr int NOT_READY = 600;
int contexts[64];
thread_local void* current = nullptr;
std::atomic<int> n_streams{0};

long value(const std::string& call, size_t i, long otherwise) {
  auto action = told(call);
  return action && action->name == "value" ? action->numbers.at(i) : otherwise;
}

int number(Stream* stream) { return stream ? stream->number : 0; }
}  // namespace

/// For the other fake: NCCL needs the thread's context.
ENTRY void* fake_current() noexcept { return current; }

ENTRY int cudaRuntimeGetVersion(int* release) noexcept {
  *release = static_cast<int>(value("cudaRuntimeGetVersion", 0, 13000));
  return 0;
}

ENTRY int cuInit(unsigned) noexcept { return failure("cuInit"); }

ENTRY int cuDriverGetVersion(int* release) noexcept {
  *release = static_cast<int>(value("cuDriverGetVersion", 0, 13020));
  return 0;
}

ENTRY int cuGetErrorString(int code, const char** text) noexcept {
  if (code == 999) return 1;
  *text = code == INVALID_CONTEXT ? "invalid device context" : "an error of the fake";
  return 0;
}

ENTRY int cuDeviceGetCount(int* n) noexcept {
  *n = static_cast<int>(value("cuDeviceGetCount", 0, 2));
  return 0;
}

ENTRY int cuDeviceGet(int* device, int ordinal) noexcept {
  *device = 10 + ordinal;
  return 0;
}

ENTRY int cuDeviceGetName(char* name, int length, int device) noexcept {
  snprintf(name, length, "Fake GPU %c", 'A' + device - 10);
  return 0;
}

ENTRY int cuDeviceGetUuid_v2(unsigned char* uuid, int device) noexcept {
  for (int i = 0; i < 16; ++i) uuid[i] = static_cast<unsigned char>(device * 16 + i);
  return 0;
}

ENTRY int cuDevicePrimaryCtxRetain(void** context, int device) noexcept {
  if (int code = failure("cuDevicePrimaryCtxRetain")) return code;
  *context = &contexts[device - 10];
  return 0;
}

ENTRY int cuCtxSetCurrent(void* context) noexcept {
  current = context;
  return 0;
}

ENTRY int cuMemGetInfo_v2(size_t* free, size_t* total) noexcept {
  if (!current) return INVALID_CONTEXT;
  *free = value("cuMemGetInfo", 0, 79L << 30);
  *total = value("cuMemGetInfo", 1, 80L << 30);
  return 0;
}

ENTRY int cuStreamCreate(Stream** stream, unsigned flags) noexcept {
  if (!current) return INVALID_CONTEXT;
  *stream = new Stream{++n_streams};
  note("cuStreamCreate %d flags %u", number(*stream), flags);
  return 0;
}

ENTRY int cuStreamDestroy_v2(Stream* stream) noexcept {
  note("cuStreamDestroy %d", number(stream));
  delete stream;
  return 0;
}

ENTRY int cuStreamWaitEvent(Stream* stream, Event* event, unsigned) noexcept {
  if (!current) return INVALID_CONTEXT;
  note("cuStreamWaitEvent of %d on %d", number(event->stream), number(stream));
  return 0;
}

ENTRY int cuEventCreate(Event** event, unsigned) noexcept {
  if (!current) return INVALID_CONTEXT;
  *event = new Event;
  return 0;
}

ENTRY int cuEventRecord(Event* event, Stream* stream) noexcept {
  if (!current) return INVALID_CONTEXT;
  event->stream = stream;
  event->over_at = stream ? stream->queued.load() : 0;
  note("cuEventRecord on %d", number(stream));
  return failure("cuEventRecord");
}

ENTRY int cuEventQuery(Event* event) noexcept {
  if (!current) return INVALID_CONTEXT;
  if (int code = failure("cuEventQuery")) return code;
  return !event->stream || event->stream->done.load() >= event->over_at ? 0 : NOT_READY;
}

ENTRY int cuEventDestroy_v2(Event* event) noexcept {
  delete event;
  return 0;
}
