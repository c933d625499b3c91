#include "store/meta/lmdb_check.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/core/limits.h"
#include "store/meta/lmdb_row.h"

namespace covey {
namespace {

// LMDB 0.9's file, on machines of 64 bits and little-endian.
static_assert(sizeof(size_t) == 8 && std::endian::native == std::endian::little);
constexpr size_t kPageHeaderBytes = 16;
constexpr size_t kNodeHeaderBytes = 8;
constexpr size_t kDbBytes = 48;
constexpr size_t kMetaBytes = 24 + 2 * kDbBytes + 16;
constexpr uint32_t kMagic = 0xBEEFC0DE, kDataVersion = 1;
constexpr uint16_t kBranch = 0x01, kLeaf = 0x02, kOverflow = 0x04, kMetaPage = 0x08;
constexpr uint16_t kBigData = 0x01, kSubData = 0x02;
constexpr uint16_t kIntegerKey = 0x08, kNoSubdir = 0x4000;  // of the free list's database
constexpr uint64_t kNoPage = ~uint64_t{0};
constexpr uint64_t kPageBytesMin = 512, kPageBytesMax = 64 * kKiB;
// The last pages of a transaction may be free again before they are written.
constexpr uint64_t kUnwrittenPagesMax = 64 * 1024;
constexpr uint64_t kReadAheadBytes = kMiB;

template <typename T>
T load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

size_t even(size_t n) { return (n + 1) & ~size_t{1}; }

}  // namespace

tl::unexpected<Error> LmdbCheck::damaged(uint64_t page, std::string_view how) const {
  return fail(ErrorCode::kCorrupt, fmt::format("page {} of {}: {}", page, file_, how));
}

LmdbCheck::~LmdbCheck() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::unique_ptr<LmdbCheck>> LmdbCheck::open(std::string file,
                                                   std::optional<uint64_t> transaction) {
  std::unique_ptr<LmdbCheck> check(new LmdbCheck(std::move(file)));
  TRY_STATUS(check->open_file(transaction));
  return check;
}

// A sector that cannot be read is as lost as one that reads wrong.
Status LmdbCheck::read(char* to, uint64_t bytes, uint64_t at) const {
  for (uint64_t done = 0; done < bytes;) {
    ssize_t n = ::pread(fd_, to + done, bytes - done, static_cast<off_t>(at + done));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return fail(ErrorCode::kCorrupt,
                  fmt::format("{} cannot be read at byte {}: {}", file_, at + done,
                              n < 0 ? std::strerror(errno) : "it ends before"));
    done += static_cast<uint64_t>(n);
  }
  return {};
}

LmdbCheck::Db LmdbCheck::parse_db(const char* at) {
  Db db;
  db.flags = load<uint16_t>(at + 4);
  db.depth = load<uint16_t>(at + 6);
  db.branches = load<uint64_t>(at + 8);
  db.leaves = load<uint64_t>(at + 16);
  db.overflows = load<uint64_t>(at + 24);
  db.entries = load<uint64_t>(at + 32);
  db.root = load<uint64_t>(at + 40);
  return db;
}

Result<LmdbCheck::Meta> LmdbCheck::read_meta(uint64_t at, size_t number) const {
  char bytes[kPageHeaderBytes + kMetaBytes];
  TRY_STATUS(read(bytes, sizeof bytes, at));
  const char* body = bytes + kPageHeaderBytes;
  if (load<uint16_t>(bytes + 10) != kMetaPage || load<uint32_t>(body) != kMagic)
    return damaged(number, "this is no meta page");
  Meta meta;
  meta.version = load<uint32_t>(body + 4);
  meta.page_bytes = load<uint32_t>(body + 24);  // stands in the free list's record
  meta.free = parse_db(body + 24);
  meta.main = parse_db(body + 24 + kDbBytes);
  meta.last_page = load<uint64_t>(body + 24 + 2 * kDbBytes);
  meta.transaction = load<uint64_t>(body + 24 + 2 * kDbBytes + 8);
  if (!std::has_single_bit(meta.page_bytes) || meta.page_bytes < kPageBytesMin ||
      meta.page_bytes > kPageBytesMax)
    return damaged(number, "its page size is none");
  // Transaction n is written to meta page n mod 2; a new file has number 0 on both.
  if (meta.transaction != 0 && meta.transaction % 2 != number)
    return damaged(number, "its transaction stands on the wrong page");
  return meta;
}

Status LmdbCheck::open_file(std::optional<uint64_t> transaction) {
  fd_ = ::open(file_.c_str(), O_RDONLY | O_CLOEXEC);
  struct stat about {};
  if (fd_ < 0 || ::fstat(fd_, &about) != 0)
    return fail(errno == ENOENT ? ErrorCode::kNotFound : ErrorCode::kIo,
                fmt::format("cannot open {}: {}", file_, std::strerror(errno)));
  TRY(Meta first, read_meta(0, 0));
  TRY(Meta second, read_meta(first.page_bytes, 1));
  if (first.version != second.version) return damaged(1, "its version is another one");
  if (first.version != kDataVersion)
    return fail(ErrorCode::kInvalid,
                fmt::format("{} is of another LMDB: start the version that wrote it", file_));
  if (first.page_bytes != second.page_bytes) return damaged(1, "its page size is another one");
  meta_ = first.transaction < second.transaction ? second : first;
  if (transaction) {
    meta_ = *transaction % 2 == 0 ? first : second;
    if (meta_.transaction != *transaction)
      return fail(ErrorCode::kOverloaded, "the state to be checked was overwritten");
  } else if (first.transaction + 1 != second.transaction &&
             second.transaction + 1 != first.transaction &&
             first.transaction + second.transaction != 0) {
    return damaged(0, "the meta pages are of transactions that do not follow each other");
  }
  file_pages_ = (static_cast<uint64_t>(about.st_size) + meta_.page_bytes - 1) / meta_.page_bytes;
  if (meta_.last_page >= file_pages_ + kUnwrittenPagesMax)
    return damaged(0, "it names pages beyond the end of the file");
  used_.assign(file_pages_, false);
  stack_.reserve(kLmdbTreeLevelsMax);  // frames do not move
  if ((meta_.free.flags & ~kNoSubdir) != kIntegerKey || meta_.main.flags != 0)
    return damaged(0, "its databases are of another kind");
  trees_.push_back({Kind::kFree, meta_.free, {}});
  trees_.push_back({Kind::kMain, meta_.main, {}});
  return {};
}

void LmdbCheck::read_ahead() const {
  const uint64_t bytes = file_pages_ * meta_.page_bytes;
  const uint64_t memory = static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) *
                          static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
  if (bytes > memory / 4) return;
  std::vector<char> buffer(kReadAheadBytes);
  for (uint64_t at = 0; at < bytes; at += buffer.size())
    if (::pread(fd_, buffer.data(), buffer.size(), static_cast<off_t>(at)) <= 0) return;
}

// Pages that are in the tree twice, or in it and free, would be overwritten while they are used.
Status LmdbCheck::take(uint64_t page, uint64_t count, const char* as) {
  if (page < 2 || page > meta_.last_page || count == 0 || count > meta_.last_page - page + 1)
    return damaged(page, fmt::format("there is no such page, but it is named as {}", as));
  for (uint64_t n = page; n < page + count && n < file_pages_; ++n) {
    if (used_[n]) return damaged(n, fmt::format("it is used twice, here as {}", as));
    used_[n] = true;
  }
  return {};
}

bool LmdbCheck::before(std::string_view a, std::string_view b) const {
  if (trees_.front().kind != Kind::kFree) return a < b;
  return load<uint64_t>(a.data()) < load<uint64_t>(b.data());
}

Status LmdbCheck::begin_tree() {
  const Db& said = trees_.front().said;
  begun_ = true;
  last_.clear();
  floor_.clear();
  if (said.root == kNoPage) return {};
  if (said.depth == 0 || said.depth > kLmdbTreeLevelsMax)
    return damaged(said.root, "its tree has no possible depth");
  return enter(said.root);
}

Status LmdbCheck::end_tree() {
  Tree& tree = trees_.front();
  tree.found.depth = tree.said.root == kNoPage ? uint16_t{0} : tree.said.depth;
  const Db &said = tree.said, &found = tree.found;
  if (said.entries != found.entries || said.branches != found.branches ||
      said.leaves != found.leaves || said.overflows != found.overflows || said.depth != found.depth)
    return fail(ErrorCode::kCorrupt,
                fmt::format("{} has {} rows on {} pages where {} on {} were written", file_,
                            found.entries, found.branches + found.leaves + found.overflows,
                            said.entries, said.branches + said.leaves + said.overflows));
  if (tree.kind >= Kind::kRows) found_.rows += found.entries;
  trees_.erase(trees_.begin());
  begun_ = false;
  return {};
}

Status LmdbCheck::enter(uint64_t page) {
  Tree& tree = trees_.front();
  TRY_STATUS(take(page, 1, "a page of a tree"));
  Frame frame;
  frame.number = page;
  frame.page.resize(meta_.page_bytes);
  TRY_STATUS(read(frame.page.data(), meta_.page_bytes, page * meta_.page_bytes));
  ++found_.pages;
  found_.bytes += meta_.page_bytes;
  const char* header = frame.page.data();
  frame.leaf = stack_.size() + 1 == tree.said.depth;
  const uint16_t lower = load<uint16_t>(header + 12), upper = load<uint16_t>(header + 14);
  if (load<uint64_t>(header) != page) return damaged(page, "it bears another number");
  if (load<uint16_t>(header + 10) != (frame.leaf ? kLeaf : kBranch))
    return damaged(page, "it is of another kind");
  if (lower <= kPageHeaderBytes || lower % 2 != 0 || lower > upper || upper > meta_.page_bytes)
    return damaged(page, "its bounds are impossible");
  frame.nodes = (lower - kPageHeaderBytes) / 2;
  TRY_STATUS(check_nodes(frame));
  ++(frame.leaf ? tree.found.leaves : tree.found.branches);
  stack_.push_back(std::move(frame));
  return {};
}

// The nodes fill the page from its upper bound to its end, each byte once.
Status LmdbCheck::check_nodes(const Frame& frame) const {
  const size_t upper = load<uint16_t>(frame.page.data() + 14);
  std::vector<std::pair<size_t, size_t>> spans;  // begin, end
  for (size_t i = 0; i < frame.nodes; ++i) {
    const size_t at = load<uint16_t>(frame.page.data() + kPageHeaderBytes + 2 * i);
    if (at < upper || at + kNodeHeaderBytes > frame.page.size())
      return damaged(frame.number, "a row stands outside of its page");
    TRY(Node here, node(frame, i));
    size_t bytes = kNodeHeaderBytes + here.key.size() + here.value.size();
    spans.emplace_back(at, at + even(bytes));
  }
  std::sort(spans.begin(), spans.end());
  size_t end = upper;
  for (const auto& [begins, ends] : spans) {
    if (begins != end) return damaged(frame.number, "its rows overlap or leave a gap");
    end = ends;
  }
  if (end != frame.page.size()) return damaged(frame.number, "its rows do not fill it");
  return {};
}

Result<LmdbCheck::Node> LmdbCheck::node(const Frame& frame, size_t i) const {
  const char* page = frame.page.data();
  const size_t at = load<uint16_t>(page + kPageHeaderBytes + 2 * i);
  const char* header = page + at;
  const uint16_t key_bytes = load<uint16_t>(header + 6);
  const size_t room = frame.page.size() - at - kNodeHeaderBytes;
  Node out;
  out.flags = load<uint16_t>(header + 4);
  out.size = load<uint16_t>(header) | uint64_t{load<uint16_t>(header + 2)} << 16;
  if (!frame.leaf) out.size |= uint64_t{out.flags} << 32;
  uint64_t here = frame.leaf ? (out.flags & kBigData ? sizeof(uint64_t) : out.size) : 0;
  if (key_bytes > room || here > room - key_bytes)
    return damaged(frame.number, "a row is longer than its page");
  out.key = {header + kNodeHeaderBytes, key_bytes};
  out.value = {header + kNodeHeaderBytes + key_bytes, static_cast<size_t>(here)};
  if (trees_.front().kind == Kind::kFree && (frame.leaf || i > 0) && key_bytes != 8)
    return damaged(frame.number, "a key of the free list has another length");
  return out;
}

// To the next page below a branch: all keys so far are below its first key, all that follow are
// not.
Status LmdbCheck::descend(Frame& frame) {
  const size_t i = frame.at++;
  TRY(Node to, node(frame, i));
  if (i > 0) {
    bool low =
        (!last_.empty() && !before(last_, to.key)) || (!floor_.empty() && before(to.key, floor_));
    if (low) return damaged(frame.number, "its keys are out of order");
    floor_ = to.key;
  }
  return enter(to.size);
}

Status LmdbCheck::check_leaf(const Frame& frame) {
  for (size_t i = 0; i < frame.nodes; ++i) {
    TRY(Node here, node(frame, i));
    if ((!last_.empty() && !before(last_, here.key)) ||
        (!floor_.empty() && before(here.key, floor_)) || here.key.empty())
      return damaged(frame.number, "its keys are out of order");
    last_ = here.key;
    ++trees_.front().found.entries;
    TRY_STATUS(check_entry(frame, here));
  }
  return {};
}

Result<std::string_view> LmdbCheck::value_of(const Frame& frame, const Node& node) {
  if (!(node.flags & kBigData)) return node.value;
  const uint64_t page = load<uint64_t>(node.value.data());
  char header[kPageHeaderBytes];
  if (page >= file_pages_) return damaged(frame.number, "a value stands beyond the file's end");
  TRY_STATUS(read(header, sizeof header, page * meta_.page_bytes));
  const uint32_t pages = load<uint32_t>(header + 12);
  if (load<uint64_t>(header) != page || load<uint16_t>(header + 10) != kOverflow ||
      pages < (kPageHeaderBytes - 1 + node.size) / meta_.page_bytes + 1)
    return damaged(page, "it is not the long value that it should be");
  TRY_STATUS(take(page, pages, "a long value"));
  trees_.front().found.overflows += pages;
  found_.pages += pages;
  found_.bytes += pages * meta_.page_bytes;
  overflow_.resize(node.size);
  TRY_STATUS(read(overflow_.data(), node.size, page * meta_.page_bytes + kPageHeaderBytes));
  return std::string_view(overflow_);
}

Status LmdbCheck::check_entry(const Frame& frame, const Node& node) {
  const Kind kind = trees_.front().kind;
  if (kind == Kind::kMain) return add_database(frame, node);
  if ((node.flags & ~kBigData) != 0) return damaged(frame.number, "a row is of another kind");
  TRY(std::string_view value, value_of(frame, node));
  if (kind == Kind::kFree) return check_free(frame, value);
  RowKind row = kind == Kind::kRows   ? RowKind::kRoot
                : kind == Kind::kLong ? RowKind::kLong
                                      : RowKind::kMeta;
  if (!row_intact(row, node.key, value))
    return damaged(frame.number, "the checksum of a row does not match");
  return {};
}

Status LmdbCheck::check_free(const Frame& frame, std::string_view list) {
  uint64_t count = list.size() < 8 ? kNoPage : load<uint64_t>(list.data());
  if (count > list.size() / 8 - 1) return damaged(frame.number, "a list of free pages is cut");
  uint64_t above = kNoPage;
  for (uint64_t i = 1; i <= count; ++i) {
    uint64_t page = load<uint64_t>(list.data() + 8 * i);
    if (page >= above) return damaged(frame.number, "a list of free pages is out of order");
    above = page;
    TRY_STATUS(take(page, 1, "a free page"));
  }
  return {};
}

Status LmdbCheck::add_database(const Frame& frame, const Node& node) {
  if (node.flags != kSubData || node.value.size() != kDbBytes)
    return damaged(frame.number, "a database's record is of another kind");
  Db db = parse_db(node.value.data());
  if (db.flags != 0) return damaged(frame.number, "a database is of another kind");
  Kind kind;
  if (node.key == "rows")
    kind = Kind::kRows;
  else if (node.key == "long")
    kind = Kind::kLong;
  else if (node.key == "meta")
    kind = Kind::kMeta;
  else
    return damaged(frame.number, "it names a database that there is not");
  trees_.push_back({kind, db, {}});
  return {};
}

Result<bool> LmdbCheck::step(uint64_t bytes) {
  const uint64_t until = found_.bytes + std::max<uint64_t>(bytes, 1);
  while (!trees_.empty() && found_.bytes < until) {
    if (!begun_) {
      TRY_STATUS(begin_tree());
      if (!stack_.empty()) continue;
    }
    if (stack_.empty()) {
      TRY_STATUS(end_tree());
      continue;
    }
    Frame& top = stack_.back();
    if (!top.leaf && top.at < top.nodes) {
      TRY_STATUS(descend(top));
      continue;
    }
    Frame done = std::move(top);
    stack_.pop_back();
    if (done.leaf) {
      TRY_STATUS(check_leaf(done));
    }
  }
  return trees_.empty();
}

Result<LmdbCheck::Found> check_lmdb_file(const std::string& file) {
  TRY(std::unique_ptr<LmdbCheck> check, LmdbCheck::open(file, std::nullopt));
  check->read_ahead();
  for (bool done = false; !done;) {
    TRY(done, check->step(kGiB));
  }
  return check->found();
}

}  // namespace covey
