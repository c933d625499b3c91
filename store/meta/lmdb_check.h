// LmdbCheck: reads every page of an LMDB file that is in use, without LMDB, which trusts its pages:
// a damaged one may hide rows from it, or end the process. What is found sound here, LMDB answers
// as it was written: each row's checksum, each key in its place, each page used once, as many rows
// as were counted (docs/formats/metadata.md, Checking).
//
// Blocks. For files of 64-bit machines, as LMDB's own.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/core/result.h"

namespace covey {

inline constexpr size_t kLmdbTreeLevelsMax = 32;

class LmdbCheck {
 public:
  // `transaction`: the state to check, which a reader keeps from being overwritten. nullopt: the
  // newest; nobody writes. Errors: kCorrupt, kNotFound, kIo.
  static Result<std::unique_ptr<LmdbCheck>> open(std::string file,
                                                 std::optional<uint64_t> transaction);
  ~LmdbCheck();
  LmdbCheck(const LmdbCheck&) = delete;

  // Reads the whole file once in its order, so that the check finds it in memory: look-ups in the
  // order of the keys would be random to the disk. Does nothing when it is large for this machine.
  void read_ahead() const;
  // Goes on for about so many bytes. True: everything was read, and nothing is wrong. Errors:
  // kCorrupt (says where; then nothing of the file is to be relied on).
  Result<bool> step(uint64_t bytes);

  struct Found {
    uint64_t rows = 0, pages = 0, bytes = 0;
  };
  const Found& found() const { return found_; }

 private:
  enum class Kind : char { kFree, kMain, kRows, kLong, kMeta };
  struct Db {
    uint16_t flags = 0, depth = 0;
    uint64_t branches = 0, leaves = 0, overflows = 0, entries = 0, root = 0;
  };
  struct Meta {
    Db free, main;
    uint32_t version = 0;
    uint64_t page_bytes = 0, last_page = 0, transaction = 0;
  };
  struct Tree {
    Kind kind;
    Db said;   // what LMDB counts
    Db found;  // what is there
  };
  struct Frame {
    uint64_t number = 0;
    std::vector<char> page;
    size_t at = 0, nodes = 0;
    bool leaf = false;
  };
  struct Node {
    uint16_t flags = 0;
    uint64_t size = 0;  // of the value; a branch: the page below
    std::string_view key, value;
  };

  explicit LmdbCheck(std::string file) : file_(std::move(file)) {}
  Status open_file(std::optional<uint64_t> transaction);
  Result<Meta> read_meta(uint64_t at, size_t number) const;
  static Db parse_db(const char* at);
  Status read(char* to, uint64_t bytes, uint64_t at) const;
  Status take(uint64_t page, uint64_t count, const char* as);
  Status begin_tree();
  Status end_tree();
  Status enter(uint64_t page);
  Status check_nodes(const Frame& frame) const;
  Result<Node> node(const Frame& frame, size_t i) const;
  Status descend(Frame& frame);
  Status check_leaf(const Frame& frame);
  Status check_entry(const Frame& frame, const Node& node);
  Result<std::string_view> value_of(const Frame& frame, const Node& node);
  Status check_free(const Frame& frame, std::string_view list);
  Status add_database(const Frame& frame, const Node& node);
  bool before(std::string_view a, std::string_view b) const;
  tl::unexpected<Error> damaged(uint64_t page, std::string_view how) const;

  std::string file_;
  int fd_ = -1;
  uint64_t file_pages_ = 0;
  Meta meta_;
  std::vector<bool> used_;   // pages of the file
  std::vector<Tree> trees_;  // the first one is under way, the others follow
  std::vector<Frame> stack_;
  bool begun_ = false;  // the first tree
  std::string last_;    // key of the tree under way
  std::string floor_;   // no later key is below it
  std::string overflow_;
  Found found_;
};

// All of a file that nobody writes. Errors: as step(); kNotFound.
Result<LmdbCheck::Found> check_lmdb_file(const std::string& file);

}  // namespace covey
