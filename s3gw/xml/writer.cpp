#include <charconv>

#include "s3gw/xml/xml.h"

namespace covey {

static constexpr std::string_view kNamespace = "http://s3.amazonaws.com/doc/2006-03-01/";

// XML 1.0 has no way to write most control characters; AWS writes the reference all the same, and
// clients that may meet such keys ask for encoding-type=url.
static void append_control(std::string& out, unsigned char c) {
  static constexpr char kDigits[] = "0123456789abcdef";
  out.append("&#x");
  if (c >= 16) out.push_back(kDigits[c >> 4]);
  out.push_back(kDigits[c & 15]);
  out.push_back(';');
}

static bool needs_escape(unsigned char c) {
  return c < 0x20 || c == '&' || c == '<' || c == '>' || c == '"' || c == '\'';
}

static void append_one(std::string& out, unsigned char c) {
  switch (c) {
    case '&': out.append("&amp;"); break;
    case '<': out.append("&lt;"); break;
    case '>': out.append("&gt;"); break;
    case '"': out.append("&quot;"); break;
    case '\'': out.append("&apos;"); break;
    case '\t':
    case '\n': out.push_back(static_cast<char>(c)); break;
    default: append_control(out, c);
  }
}

void append_xml_escaped(std::string& out, std::string_view text) {
  size_t clean = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned char c = static_cast<unsigned char>(text[i]);
    if (!needs_escape(c)) continue;
    out.append(text, clean, i - clean);
    append_one(out, c);
    clean = i + 1;
  }
  out.append(text, clean);
}

XmlWriter::XmlWriter(std::string_view root, size_t reserve_bytes) : root_(root) {
  out_.reserve(reserve_bytes);
  out_.append("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
  if (root.empty()) return;
  out_.append("<").append(root).append(" xmlns=\"").append(kNamespace).append("\">");
}

void XmlWriter::open(std::string_view name) {
  out_.push_back('<');
  out_.append(name);
  out_.push_back('>');
}

void XmlWriter::close(std::string_view name) {
  out_.append("</");
  out_.append(name);
  out_.push_back('>');
}

void XmlWriter::element(std::string_view name, std::string_view value) {
  open(name);
  append_xml_escaped(out_, value);
  close(name);
}

void XmlWriter::element(std::string_view name, uint64_t value) {
  char digits[24];
  auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  raw_element(name, std::string_view(digits, static_cast<size_t>(end - digits)));
}

void XmlWriter::empty(std::string_view name) {
  out_.push_back('<');
  out_.append(name);
  out_.append("/>");
}

void XmlWriter::raw_element(std::string_view name, std::string_view value) {
  open(name);
  out_.append(value);
  close(name);
}

std::string XmlWriter::take() {
  if (!root_.empty()) close(root_);
  return std::move(out_);
}

}  // namespace covey
