// Memory for numbers: 64-byte aligned, zeroed, on huge pages where it is large, freed with its owner; and views of memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <new>
#include <utility>

#if defined(_WIN32)
#include <malloc.h>
#else
#include <cstdlib>
#endif
#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace rhapsode {

template <class T>
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(int64_t size) { reserve(size); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  ~Buffer() { release(data_); }

  // Room for at least `size` elements. Growing drops the contents and gives zeros; otherwise nothing changes.
  // Throws std::bad_alloc.
  void reserve(int64_t size) {
    if (size <= size_) return;
    release(data_);
    data_ = nullptr, size_ = 0;
    data_ = allocate(static_cast<size_t>(size));
    size_ = size;
  }

  void zero() { std::memset(static_cast<void*>(data_), 0, static_cast<size_t>(size_) * sizeof(T)); }

  int64_t size() const { return size_; }
  T* data() { return data_; }
  const T* data() const { return data_; }
  T& operator[](int64_t i) { return data_[i]; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  // A quarter of a huge page or more takes a whole one: a step of training walks through a dozen such buffers, and what finds
  // the small pages of all of them no longer fits the processor's tables.
  static constexpr size_t LINE = 64, HUGE_PAGE = size_t{2} << 20, LARGE = HUGE_PAGE / 4;

  static T* allocate(size_t size) {
    if (size > SIZE_MAX / sizeof(T) - 2 * HUGE_PAGE) throw std::bad_alloc();
    size_t bytes = size * sizeof(T), align = bytes >= LARGE ? HUGE_PAGE : LINE;
    bytes = bytes >= LARGE && bytes < HUGE_PAGE ? HUGE_PAGE : (bytes + LINE - 1) / LINE * LINE;
#if defined(_WIN32)
    void* p = _aligned_malloc(bytes, LINE);
    if (!p) throw std::bad_alloc();
#else
    void* p = nullptr;
    if (posix_memalign(&p, align, bytes) != 0) throw std::bad_alloc();
#endif
#if defined(__linux__)
    if (align == HUGE_PAGE) madvise(p, bytes, MADV_HUGEPAGE);
#endif
    std::memset(p, 0, bytes);
    return static_cast<T*>(p);
  }

  static void release(T* p) {
#if defined(_WIN32)
    _aligned_free(p);
#else
    std::free(p);
#endif
  }

  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
  }

  T* data_ = nullptr;
  int64_t size_ = 0;
};

// Numbers that do not change: a buffer's, or those of memory that somebody else holds, a mapped file for instance.
template <class T>
class Array {
 public:
  Array() = default;
  Array(Buffer<T>&& own) : own_(std::move(own)), data_(own_.data()), size_(own_.size()) {}
  Array(const T* data, int64_t size) : data_(data), size_(size) {}

  int64_t size() const { return size_; }
  const T* data() const { return data_; }
  const T& operator[](int64_t i) const { return data_[i]; }

 private:
  Buffer<T> own_;
  const T* data_ = nullptr;
  int64_t size_ = 0;
};

}  // namespace rhapsode
