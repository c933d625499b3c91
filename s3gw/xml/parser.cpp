#include <expat.h>

#include <memory>

#include "base/core/limits.h"
#include "s3gw/xml/xml.h"

namespace covey {

std::string_view trim_space(std::string_view text) {
  size_t first = text.find_first_not_of(" \t\r\n");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t\r\n") - first + 1);
}

const XmlNode* XmlNode::child(std::string_view child_name) const {
  for (const XmlNode& node : children)
    if (node.name == child_name) return &node;
  return nullptr;
}

std::string_view XmlNode::value(std::string_view child_name) const {
  const XmlNode* node = child(child_name);
  return node ? trim_space(node->text) : std::string_view();
}

namespace {

// The tree under construction. `path` points into it; a child vector only grows while its last
// element is the open one, so the pointers to open elements stay valid.
struct Builder {
  XML_Parser parser = nullptr;
  XmlNode root;
  std::vector<XmlNode*> path;
  size_t nodes = 0;
  const char* refusal = nullptr;

  void refuse(const char* why) {
    refusal = why;
    XML_StopParser(parser, XML_FALSE);
  }
};

std::string_view without_prefix(std::string_view name) {
  size_t colon = name.rfind(':');
  return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

void on_start(void* user, const XML_Char* name, const XML_Char** attributes) {
  Builder& b = *static_cast<Builder*>(user);
  if (b.refusal) return;
  if (b.path.size() >= kXmlDepthMax) return b.refuse("it is nested too deeply");
  if (++b.nodes > kXmlNodesMax) return b.refuse("it has too many elements");
  XmlNode* node = &b.root;
  if (!b.path.empty()) node = &b.path.back()->children.emplace_back();
  node->name = without_prefix(name);
  for (; attributes[0]; attributes += 2)
    node->attributes.emplace_back(attributes[0], attributes[1]);
  b.path.push_back(node);
}

void on_end(void* user, const XML_Char*) {
  Builder& b = *static_cast<Builder*>(user);
  if (!b.refusal && !b.path.empty()) b.path.pop_back();
}

void on_text(void* user, const XML_Char* text, int size) {
  Builder& b = *static_cast<Builder*>(user);
  if (!b.refusal && !b.path.empty()) b.path.back()->text.append(text, static_cast<size_t>(size));
}

void on_doctype(void* user, const XML_Char*, const XML_Char*, const XML_Char*, int) {
  static_cast<Builder*>(user)->refuse("document types and entities are not allowed");
}

void on_instruction(void* user, const XML_Char*, const XML_Char*) {
  static_cast<Builder*>(user)->refuse("processing instructions are not allowed");
}

struct ParserFree {
  void operator()(XML_Parser parser) const { XML_ParserFree(parser); }
};

}  // namespace

Result<XmlNode> parse_xml(std::string_view body) {
  if (body.size() > kXmlBodyBytesMax)
    return fail(ErrorCode::kTooLarge, "Your request was too big.", "MaxMessageLengthExceeded");
  std::unique_ptr<std::remove_pointer_t<XML_Parser>, ParserFree> parser(XML_ParserCreate(nullptr));
  if (!parser) return fail(ErrorCode::kOverloaded, "no memory for an XML parser");
  Builder builder;
  builder.parser = parser.get();
  XML_SetUserData(parser.get(), &builder);
  XML_SetElementHandler(parser.get(), on_start, on_end);
  XML_SetCharacterDataHandler(parser.get(), on_text);
  XML_SetStartDoctypeDeclHandler(parser.get(), on_doctype);
  XML_SetProcessingInstructionHandler(parser.get(), on_instruction);
  bool good =
      XML_Parse(parser.get(), body.data(), static_cast<int>(body.size()), 1) == XML_STATUS_OK;
  if (good && !builder.refusal) return std::move(builder.root);
  std::string why =
      builder.refusal ? builder.refusal : XML_ErrorString(XML_GetErrorCode(parser.get()));
  return fail(ErrorCode::kInvalid,
              "The XML you provided was not well-formed or did not validate against our published "
              "schema: " +
                  why + ".",
              "MalformedXML");
}

}  // namespace covey
