// XML as S3 uses it: small documents in, flat documents out.
//
// Reading refuses what an attacker needs and S3 never uses: document types, entities, processing
// instructions, deep nesting, endless lists. Namespaces are dropped: "s3:Key" reads as "Key".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/core/result.h"

namespace covey {

inline constexpr size_t kXmlNodesMax = 50'000;  // CompleteMultipartUpload: 10,000 parts of 4 nodes

struct XmlNode {
  std::string name;  // without its prefix
  std::string text;  // character data directly inside, not trimmed
  std::vector<std::pair<std::string, std::string>> attributes;  // names with their prefix
  std::vector<XmlNode> children;

  // The first child of that name, or nullptr.
  const XmlNode* child(std::string_view child_name) const;
  // Its text, trimmed of white space; empty when there is no such child.
  std::string_view value(std::string_view child_name) const;
};

// The root element. Errors: kInvalid with detail "MalformedXML"; kTooLarge above kXmlBodyBytesMax.
Result<XmlNode> parse_xml(std::string_view body);

std::string_view trim_space(std::string_view text);
void append_xml_escaped(std::string& out, std::string_view text);

// Appends a document to one string. Element names are literals of ours; values are escaped.
class XmlWriter {
 public:
  // Starts with the XML declaration and, where `root` is given, that element in S3's namespace.
  explicit XmlWriter(std::string_view root = {}, size_t reserve_bytes = 1024);

  void open(std::string_view name);
  void close(std::string_view name);
  void element(std::string_view name, std::string_view value);
  void element(std::string_view name, const char* value) { element(name, std::string_view(value)); }
  void element(std::string_view name, uint64_t value);
  void element(std::string_view name, bool value) = delete;  // say flag()
  void flag(std::string_view name, bool value) { raw_element(name, value ? "true" : "false"); }
  void empty(std::string_view name);
  // `value` is known to need no escaping (a date, a number, hexadecimal digits).
  void raw_element(std::string_view name, std::string_view value);
  void raw(std::string_view bytes) { out_.append(bytes); }

  // Closes the root and hands the document over.
  std::string take();

 private:
  std::string out_;
  std::string root_;
};

}  // namespace covey
