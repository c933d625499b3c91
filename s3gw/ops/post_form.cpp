// POST Object: an upload from a browser's form, authorized by the policy the form carries.
#include <memory>

#include "base/core/limits.h"
#include "s3gw/auth/digests.h"
#include "s3gw/ops/fields.h"
#include "s3gw/ops/form.h"
#include "s3gw/ops/reply.h"
#include "s3gw/ops/text.h"

namespace covey {

namespace {

// The form's file as the store wants it, within the policy's content-length-range.
class FormFile : public BodySource {
 public:
  FormFile(FormReader& form, PostLimits limits, Checksum wanted, Pool& cpu)
      : form_(form), limits_(limits), wanted_(std::move(wanted)), cpu_(cpu) {
    if (auto kind = checksum_kind(wanted_.algorithm)) checksum_.emplace(*kind);
  }
  int64_t declared_bytes() const override { return -1; }

  Task<Result<Blob>> next(size_t max_bytes) override {
    CO_TRY(Blob piece, co_await form_.next(max_bytes));
    if (piece.empty()) {
      if (limits_.has_range && size_ < limits_.min_bytes) co_return s3_error("EntityTooSmall");
      co_return piece;
    }
    size_ += piece.size();
    uint64_t most = limits_.has_range ? limits_.max_bytes : kPutBytesMax;
    if (size_ > most || size_ > kPutBytesMax) co_return s3_error("EntityTooLarge");
    // Named first: GCC 12 destroys a closure built inside a co_await expression twice.
    auto update = [this, piece] {
      md5_.update(piece.view());
      if (checksum_) checksum_->update(piece.view());
      return true;
    };
    co_await cpu_.run(std::move(update));
    co_return piece;
  }

  Task<Result<BodyDigests>> finish() override {
    BodyDigests digests;
    digests.md5 = md5_.finish();
    digests.etag = hex_encode(digests.md5);
    if (checksum_) {
      digests.checksum = {wanted_.algorithm, base64_encode(checksum_->finish()), true};
      if (!wanted_.value.empty() && wanted_.value != digests.checksum.value)
        co_return s3_error(
            "BadDigest",
            "The " + wanted_.algorithm + " you specified did not match the calculated checksum.");
    }
    co_return digests;
  }

 private:
  FormReader& form_;
  PostLimits limits_;
  Checksum wanted_;
  Pool& cpu_;
  Digest md5_{DigestKind::kMd5};
  std::optional<Digest> checksum_;
  uint64_t size_ = 0;
};

std::string field(const PostForm& form, const std::string& name) {
  auto it = form.fields.find(name);
  return it == form.fields.end() ? std::string() : it->second;
}

// Fields take the place of the headers of a PUT.
void fields_to_headers(Call& call, const PostForm& form, const std::string& file_type) {
  auto& headers = call.http.headers;
  std::erase_if(headers, [](const auto& h) { return h.first != "host"; });
  for (const auto& [name, value] : form.fields) {
    if (name == "acl") headers.emplace_back("x-amz-acl", value);
    if (name.starts_with("x-amz-") || name == "content-type" || name == "cache-control" ||
        name == "content-disposition" || name == "content-encoding" || name == "expires")
      headers.emplace_back(name, value);
  }
  if (field(form, "content-type").empty() && !file_type.empty())
    headers.emplace_back("content-type", file_type);
}

std::string substitute_file_name(std::string key, const std::string& name) {
  static constexpr std::string_view kVariable = "${filename}";
  size_t slash = name.find_last_of("/\\");
  std::string base = slash == std::string::npos ? name : name.substr(slash + 1);
  size_t at = key.find(kVariable);
  if (at != std::string::npos) key.replace(at, kVariable.size(), base);
  return key;
}

std::string object_url(const Call& call, const std::string& key) {
  std::string url = call.http.tls ? "https://" : "http://";
  url += call.header_or_empty("host") + "/";
  if (call.path != "/") url += call.bucket_name + "/";  // else the host names the bucket
  append_url_encoded(url, key);
  return url;
}

HttpResponse answer_form(Call& call, const PostForm& form, const std::string& key,
                         const ObjectInfo& made) {
  std::string redirect = field(form, "success_action_redirect");
  if (redirect.empty()) redirect = field(form, "redirect");
  HttpResponse reply = empty_reply(204);
  if (!redirect.empty() && !has_control(redirect) && redirect.find("://") != std::string::npos) {
    reply.status = 303;
    redirect += redirect.find('?') == std::string::npos ? "?bucket=" : "&bucket=";
    redirect += aws_uri_encode(call.bucket_name, false) + "&key=" + aws_uri_encode(key, false) +
                "&etag=" + aws_uri_encode(quoted(made.etag), false);
    reply.set("Location", redirect);
  } else if (std::string status = field(form, "success_action_status"); status == "201") {
    XmlWriter xml;
    xml.open("PostResponse");
    xml.element("Location", object_url(call, key));
    xml.element("Bucket", call.bucket_name);
    xml.element("Key", key);
    xml.element("ETag", quoted(made.etag));
    xml.close("PostResponse");
    reply = xml_reply(xml.take());
    reply.status = 201;
  } else if (status == "200") {
    reply.status = 200;
  }
  if (reply.status != 303) reply.set("Location", object_url(call, key));
  reply.set("ETag", quoted(made.etag));
  return reply;
}

}  // namespace

static Task<Result<PostForm>> read_form(Call& call, FormReader& reader, std::string& file_type) {
  CO_TRY(FormReader::Head head, co_await reader.read_head());
  PostForm form;
  form.fields = std::move(head.fields);
  form.bucket = call.bucket_name;
  if (!head.has_file)
    co_return s3_error("InvalidArgument", "POST requires exactly one file upload per request.");
  if (!form.fields.contains("key") || form.fields["key"].empty())
    co_return call.bad_argument(
        "Bucket POST must contain a field named 'key'.  If it is specified, "
        "please check the order of the fields.",
        "key", "");
  form.fields["key"] = substitute_file_name(form.fields["key"], head.file_name);
  file_type = head.file_type;
  co_return form;
}

Reply post_object(Call& call) {
  if (!lower(call.header_or_empty("content-type")).starts_with("multipart/form-data"))
    co_return s3_error("PreconditionFailed",
                       "Bucket POST must be of the enclosure-type multipart/form-data");
  FormReader reader(*call.http.body, call.header("content-type").value_or(""));
  std::string file_type;
  CO_TRY(PostForm form, co_await read_form(call, reader, file_type));
  AuthSettings settings{call.gateway.settings().region};
  auto known = authenticate_post(form, call.gateway.users(), settings, call.wall_now());
  if (!known && rests_on_keys(known.error())) {
    CO_TRY_STATUS(co_await call.gateway.users().confirm(call.runtime().clock.after(kConfirmKeys)));
    known = authenticate_post(form, call.gateway.users(), settings, call.wall_now());
  }
  CO_TRY(call.who.identity, std::move(known));
  CO_TRY_STATUS(check_access(call, call.bucket, Need::kWrite));
  CO_TRY(PostLimits limits, check_post_policy(form, call.wall_now()));
  std::string key = field(form, "key");
  CO_TRY_STATUS(check_key(call, key));
  fields_to_headers(call, form, file_type);
  CO_TRY_STATUS(refuse_unsupported(call));
  PutRequest request;
  request.bucket = call.bucket_name;
  request.key = key;
  CO_TRY(request.attributes, read_attributes(call));
  if (std::string tagging = field(form, "tagging"); !tagging.empty()) {
    CO_TRY(request.attributes.tags, parse_object_tagging(tagging));
  }
  Checksum wanted = read_checksum_header(call);
  if (wanted.algorithm.empty()) wanted.algorithm = call.gateway.settings().default_checksum;
  FormFile file(reader, limits, std::move(wanted), call.runtime().cpu);
  CO_TRY(ObjectInfo made, co_await call.store().put(std::move(request), file, call.long_after()));
  CO_TRY_STATUS(co_await reader.drain());
  co_return answer_form(call, form, key, made);
}

}  // namespace covey
