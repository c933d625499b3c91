// XML documents of requests; and what we write must be read back.
// sources: s3gw/xml/parser.cpp s3gw/xml/writer.cpp
// packages: expat
#include "s3gw/xml/xml.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace covey;
  auto root = parse_xml(text_of(data, size));
  if (!root) return 0;
  XmlWriter writer("Root");
  writer.element("Text", std::string_view(root->text));
  auto again = parse_xml(writer.take());
  CHECK(again && again->child("Text") && again->child("Text")->text == root->text);
  return 0;
}
