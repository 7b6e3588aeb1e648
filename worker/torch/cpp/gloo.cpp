// Gloo out of libtorch's c10d: a store to meet at, a process group, and messages between two of it as works to wait for.
#include "shim.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

using Store = c10::intrusive_ptr<c10d::Store>;
using Group = c10::intrusive_ptr<c10d::ProcessGroupGloo>;
using Work = c10::intrusive_ptr<c10d::Work>;

extern "C" {

char* m2t_store_serve(const char* host, uint64_t timeout_ms, uint16_t* port, Store** out) {
  return m2t::guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = 0;
    options.isServer = true;
    options.waitWorkers = false;
    options.timeout = std::chrono::milliseconds(timeout_ms);
    auto store = c10::make_intrusive<c10d::TCPStore>(host, options);
    *port = store->getPort();
    *out = new Store(std::move(store));
  });
}

char* m2t_store_join(const char* host, uint16_t port, uint64_t timeout_ms, Store** out) {
  return m2t::guarded([&] {
    c10d::TCPStoreOptions options;
    options.port = port;
    options.isServer = false;
    options.waitWorkers = false;
    options.timeout = std::chrono::milliseconds(timeout_ms);
    *out = new Store(c10::make_intrusive<c10d::TCPStore>(host, options));
  });
}

void m2t_store_free(Store* store) { delete store; }

char* m2t_gloo_new(Store* store, const char* address, int index, int size, uint64_t timeout_ms, Group** out) {
  return m2t::guarded([&] {
    auto options = c10d::ProcessGroupGloo::Options::create(std::chrono::milliseconds(timeout_ms));
    options->devices.push_back(c10d::ProcessGroupGloo::createDeviceForHostname(address));
    // For c10d's collectives, which are not used: messages take no thread of these.
    options->threads = 1;
    *out = new Group(c10::make_intrusive<c10d::ProcessGroupGloo>(*store, index, size, options));
  });
}

void m2t_gloo_free(Group* group) { delete group; }

char* m2t_gloo_send(Group* group, at::Tensor* tensor, int to, Work** out) {
  return m2t::guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    *out = new Work((*group)->send(tensors, to, 0));
  });
}

char* m2t_gloo_receive(Group* group, at::Tensor* tensor, int from, int tag, Work** out) {
  return m2t::guarded([&] {
    std::vector<at::Tensor> tensors{*tensor};
    *out = new Work((*group)->recv(tensors, from, tag));
  });
}

// A timeout of 0 is the group's. Whether the work is done: false after an abort.
char* m2t_work_wait(Work* work, uint64_t timeout_ms, uint8_t* done) {
  return m2t::guarded([&] { *done = (*work)->wait(std::chrono::milliseconds(timeout_ms)); });
}

// From any thread: a wait for this work, the one under way or the next, ends at once.
char* m2t_work_abort(Work* work) {
  return m2t::guarded([&] { (*work)->abort(); });
}

void m2t_work_free(Work* work) { delete work; }

}  // extern "C"
