// minio-go-client does one S3 operation through minio-go and says on standard output what it got.
//
//	minio-go-client ENDPOINT OPERATION [ARGUMENT...]
//
// ENDPOINT is host:port, the keys are in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. All else is the library's default.
package main

import (
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func number(text string) int64 {
	value, err := strconv.ParseInt(text, 10, 64)
	check(err)
	return value
}

type operation struct {
	arguments int
	run       func(ctx context.Context, c *minio.Client, args []string)
}

var operations = map[string]operation{
	// bucket
	"make-bucket": {1, func(ctx context.Context, c *minio.Client, a []string) {
		check(c.MakeBucket(ctx, a[0], minio.MakeBucketOptions{}))
	}},
	"remove-bucket": {1, func(ctx context.Context, c *minio.Client, a []string) {
		check(c.RemoveBucket(ctx, a[0]))
	}},
	// bucket key file
	"put": {3, func(ctx context.Context, c *minio.Client, a []string) {
		_, err := c.FPutObject(ctx, a[0], a[1], a[2], minio.PutObjectOptions{})
		check(err)
	}},
	"get": {3, func(ctx context.Context, c *minio.Client, a []string) {
		check(c.FGetObject(ctx, a[0], a[1], a[2], minio.GetObjectOptions{}))
	}},
	// bucket key: standard input, its length unknown
	"put-stream": {2, func(ctx context.Context, c *minio.Client, a []string) {
		_, err := c.PutObject(ctx, a[0], a[1], os.Stdin, -1, minio.PutObjectOptions{})
		check(err)
	}},
	// bucket key first last
	"range": {4, func(ctx context.Context, c *minio.Client, a []string) {
		options := minio.GetObjectOptions{}
		check(options.SetRange(number(a[2]), number(a[3])))
		object, err := c.GetObject(ctx, a[0], a[1], options)
		check(err)
		_, err = io.Copy(os.Stdout, object)
		check(err)
	}},
	// bucket key offset length: a seek, as archives and Parquet readers do
	"read-at": {4, func(ctx context.Context, c *minio.Client, a []string) {
		object, err := c.GetObject(ctx, a[0], a[1], minio.GetObjectOptions{})
		check(err)
		buffer := make([]byte, number(a[3]))
		_, err = object.ReadAt(buffer, number(a[2]))
		check(err)
		_, err = os.Stdout.Write(buffer)
		check(err)
	}},
	// bucket key: size and ETag
	"stat": {2, func(ctx context.Context, c *minio.Client, a []string) {
		info, err := c.StatObject(ctx, a[0], a[1], minio.StatObjectOptions{})
		check(err)
		fmt.Println(info.Size, info.ETag)
	}},
	// bucket prefix: a key and its size a line
	"list": {2, func(ctx context.Context, c *minio.Client, a []string) {
		for info := range c.ListObjects(ctx, a[0], minio.ListObjectsOptions{Prefix: a[1], Recursive: true}) {
			check(info.Err)
			fmt.Printf("%q %d\n", info.Key, info.Size)
		}
	}},
	// bucket from to
	"copy": {3, func(ctx context.Context, c *minio.Client, a []string) {
		_, err := c.CopyObject(ctx, minio.CopyDestOptions{Bucket: a[0], Object: a[2]},
			minio.CopySrcOptions{Bucket: a[0], Object: a[1]})
		check(err)
	}},
	// bucket from from to: two objects become one, by UploadPartCopy
	"compose": {4, func(ctx context.Context, c *minio.Client, a []string) {
		_, err := c.ComposeObject(ctx, minio.CopyDestOptions{Bucket: a[0], Object: a[3]},
			minio.CopySrcOptions{Bucket: a[0], Object: a[1]}, minio.CopySrcOptions{Bucket: a[0], Object: a[2]})
		check(err)
	}},
	// bucket key
	"remove": {2, func(ctx context.Context, c *minio.Client, a []string) {
		check(c.RemoveObject(ctx, a[0], a[1], minio.RemoveObjectOptions{}))
	}},
	// bucket prefix: everything below it
	"remove-all": {2, func(ctx context.Context, c *minio.Client, a []string) {
		list := c.ListObjects(ctx, a[0], minio.ListObjectsOptions{Prefix: a[1], Recursive: true})
		for failed := range c.RemoveObjects(ctx, a[0], list, minio.RemoveObjectsOptions{}) {
			check(failed.Err)
		}
	}},
	// bucket key: a URL that anybody may read for a minute
	"presign": {2, func(ctx context.Context, c *minio.Client, a []string) {
		link, err := c.PresignedGetObject(ctx, a[0], a[1], time.Minute, url.Values{})
		check(err)
		fmt.Println(link)
	}},
}

func main() {
	if len(os.Args) < 3 {
		check(fmt.Errorf("usage: minio-go-client ENDPOINT OPERATION [ARGUMENT...]"))
	}
	chosen, known := operations[os.Args[2]]
	if !known || len(os.Args)-3 != chosen.arguments {
		check(fmt.Errorf("%s: no such operation, or not its arguments", os.Args[2]))
	}
	client, err := minio.New(os.Args[1], &minio.Options{
		Creds: credentials.NewStaticV4(os.Getenv("AWS_ACCESS_KEY_ID"), os.Getenv("AWS_SECRET_ACCESS_KEY"), ""),
	})
	check(err)
	chosen.run(context.Background(), client, os.Args[3:])
}
