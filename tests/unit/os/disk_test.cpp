#include "tests/unit/test.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <filesystem>

#include "base/os/os_disk.h"
#include "base/os/uv_loop.h"
#include "base/os/uv_pool.h"

using namespace covey;

namespace {

struct TempDir {
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "covey-os-XXXXXX").string();
    REQUIRE(mkdtemp(pattern.data()) != nullptr);
    path = pattern;
  }
  ~TempDir() { std::filesystem::remove_all(path); }
  std::string path;
};

struct Fixture {
  UvLoop loop{"disk-test"};
  UvPool io{"io", 2};
  OsDisk disk{io};
  TempDir dir;
};

Task<Status> write_and_read(Disk& disk, std::string dir) {
  std::string path = dir + "/a";
  CO_TRY(auto file, co_await disk.open(path, Disk::Open::kCreate));
  auto again = co_await disk.open(path, Disk::Open::kCreate);
  EXPECT(again.is(ErrorCode::kAlreadyExists));
  std::vector<Blob> pieces;
  std::string expected;
  for (int i = 0; i < 3000; ++i) {  // more than one call takes
    std::string piece(static_cast<size_t>(i % 7), static_cast<char>('a' + i % 26));
    expected += piece;
    pieces.push_back(Blob::own(std::move(piece)));
  }
  CO_TRY_STATUS(co_await file->write_sync(10, std::move(pieces)));
  EXPECT(file->size() == expected.size() + 10);
  CO_TRY(Blob all, co_await file->read(10, 1 << 20));
  EXPECT(all.view() == expected);
  CO_TRY(Blob part, file->read_now(0, 12));
  EXPECT(part.view() == std::string(10, '\0') + expected.substr(0, 2));
  CO_TRY(Blob beyond, file->read_now(1ull << 40, 12));
  EXPECT(beyond.empty());
  CO_TRY_STATUS(co_await file->allocate(1 << 20));
  EXPECT(file->size() == 1 << 20);
  CO_TRY(Blob zeros, co_await file->read((1 << 20) - 3, 10));
  EXPECT(zeros.view() == std::string(3, '\0'));
  CO_TRY_STATUS(co_await file->truncate(5));
  CO_TRY_STATUS(co_await file->sync());
  EXPECT(file->size() == 5);
  file.reset();
  CO_TRY(auto reopened, co_await disk.open(path, Disk::Open::kRead));
  EXPECT(reopened->size() == 5);
  std::vector<Blob> refused{Blob::copy("x")};
  auto written = co_await reopened->write(0, std::move(refused));
  EXPECT(written.is(ErrorCode::kIo));
  EXPECT(written.error().message.find(path) != std::string::npos);
  co_return Status();
}

std::string pattern(size_t size, size_t seed) {
  std::string bytes(size, '\0');
  for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>((i + seed) * 2654435761u >> 13);
  return bytes;
}

// Large aligned writes and read_once() beside small writes to the same pages' neighbours, of a file
// that was renamed since it was opened: whichever way the bytes go, all ways show the same.
Task<Status> past_the_page_cache(Disk& disk, std::string dir) {
  CO_TRY(auto file, co_await disk.open(dir + "/p.new", Disk::Open::kCreate));
  CO_TRY_STATUS(co_await disk.rename(dir + "/p.new", dir + "/p"));
  std::string expected = pattern(100, 1);
  std::vector<Blob> small{Blob::own(expected)};
  CO_TRY_STATUS(co_await file->write(0, std::move(small)));
  std::string large = pattern(3 * kDirectBytesMin * 4, 2);
  std::vector<Blob> pieces;
  for (size_t at = 0, n = 1; at < large.size(); at += n, n = n * 3 % 70'001 + 1)
    pieces.push_back(Blob::copy(std::string_view(large).substr(at, n)));
  CO_TRY_STATUS(co_await file->write_sync(kDirectAlign, std::move(pieces)));
  expected.resize(kDirectAlign, '\0');
  expected += large;
  EXPECT(file->size() == expected.size());
  std::vector<Blob> tail{Blob::copy("tail"), Blob()};
  CO_TRY_STATUS(co_await file->write(expected.size(), std::move(tail)));
  std::vector<Blob> middle{Blob::copy("changed")};
  CO_TRY_STATUS(co_await file->write(100'000, std::move(middle)));
  expected += "tail";
  expected.replace(100'000, 7, "changed");
  for (size_t offset : {0, 1, 99, 4096, 99'999, 1'000'000}) {
    for (size_t size : {0, 1, 4096, 70'000, 4'000'000}) {
      CO_TRY(Blob once, co_await file->read_once(offset, size));
      CO_TRY(Blob cached, co_await file->read(offset, size));
      EXPECT(once.view() == std::string_view(expected).substr(offset, size));
      EXPECT(cached.view() == once.view());
    }
  }
  CO_TRY(Blob beyond, co_await file->read_once(1ull << 40, 12));
  EXPECT(beyond.empty());
  file.reset();
  CO_TRY(auto reopened, co_await disk.open(dir + "/p", Disk::Open::kRead));
  CO_TRY(Blob all, co_await reopened->read_once(0, 1 << 24));
  EXPECT(all.view() == expected);
  std::vector<Blob> refused{Blob::own(pattern(kDirectBytesMin, 3))};
  auto written = co_await reopened->write(0, std::move(refused));
  EXPECT(written.is(ErrorCode::kIo));
  co_return Status();
}

Task<Status> folders(Disk& disk, std::string dir) {
  std::string deep = dir + "/x/y/z";
  CO_TRY_STATUS(co_await disk.make_dir(deep));
  CO_TRY_STATUS(co_await disk.make_dir(deep + "/"));
  for (std::string name : {"b", "a", "c"}) {
    std::string path = deep + "/" + name;
    CO_TRY(auto file, co_await disk.open(path, Disk::Open::kCreate));
  }
  CO_TRY_STATUS(co_await disk.rename(deep + "/a", deep + "/d"));
  CO_TRY_STATUS(co_await disk.remove(deep + "/b"));
  CO_TRY_STATUS(co_await disk.sync_dir(deep));
  auto missing = co_await disk.remove(deep + "/b");
  EXPECT(missing.is(ErrorCode::kNotFound));
  CO_TRY(std::vector<std::string> names, co_await disk.list(deep));
  EXPECT(names == std::vector<std::string>{"c", "d"});
  auto nowhere = co_await disk.open(dir + "/nowhere/f", Disk::Open::kCreate);
  EXPECT(nowhere.is(ErrorCode::kNotFound));
  auto folder = co_await disk.open(deep, Disk::Open::kRead);
  EXPECT(folder.is(ErrorCode::kIo));
  auto under_a_file = co_await disk.make_dir(deep + "/c");
  EXPECT(under_a_file.is(ErrorCode::kIo));
  CO_TRY(DiskSpace space, co_await disk.space(dir));
  EXPECT(space.total_bytes > 0);
  EXPECT(space.free_bytes <= space.total_bytes);
  co_return Status();
}

}  // namespace

TEST_CASE("a file is written, read, reserved, truncated") {
  Fixture f;
  auto done = run_task(f.loop, write_and_read(f.disk, f.dir.path));
  INFO((done ? std::string() : to_string(done.error())));
  EXPECT(done.has_value());
}

TEST_CASE("what goes past the page cache and what does not are the same file") {
  Fixture f;
  auto done = run_task(f.loop, past_the_page_cache(f.disk, f.dir.path));
  INFO((done ? std::string() : to_string(done.error())));
  EXPECT(done.has_value());
}

TEST_CASE("folders: made with parents, listed sorted, errors named") {
  Fixture f;
  auto done = run_task(f.loop, folders(f.disk, f.dir.path));
  INFO((done ? std::string() : to_string(done.error())));
  EXPECT(done.has_value());
}
