"""What clients in Python do. Each check takes a server and raises if something is not as it should be."""

import time

import cohere
import httpx
import infinity_client
import numpy as np
import openai
import tei_client
import tritonclient.http as triton
from huggingface_hub import InferenceClient
from infinity_client.api.default import embeddings as infinity_embeddings
from infinity_client.api.default import health as infinity_health
from infinity_client.api.default import models as infinity_models
from infinity_client.models import OpenAIEmbeddingInputText
from langchain_openai import OpenAIEmbeddings
from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

from server import Server, Upload

TEXTS = ["The film was a masterpiece.", "Shares fell sharply after the bad news."]

# With these, one upload leaves no room for another large body: a 429 that is there for as long as one
# likes. A small body always fits.
LIMITS = {
    "LIMITS__BODY_BYTES": 200_000,
    "LIMITS__TRAIN_BODY_BYTES": 200_000,
    "LIMITS__BODY_BYTES_IN_FLIGHT": 300_000,
}


def equal(found, expected):
    """Single precision in, single precision out: the bits are the same."""
    found, expected = np.asarray(found, dtype="float32"), np.asarray(expected, dtype="float32")
    np.testing.assert_array_equal(found, expected)


def close(found, expected):
    """Sums of 384 products in double precision, rounded to single."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def raises(kind, call):
    try:
        answer = call()
    except kind as error:
        return error
    raise AssertionError(f"{kind.__name__} was not raised; the answer was {answer!r:.200}")


def openai_client(server, **options):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", **options)


def openai_embeds(server):
    client = openai_client(server)
    expected = server.embed(*TEXTS)
    # Without an encoding_format the client asks for base64.
    answer = client.embeddings.create(model="minilm", input=TEXTS)
    equal([data.embedding for data in answer.data], expected)
    assert [data.index for data in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens > 12
    answer = client.embeddings.create(model="minilm", input=TEXTS[0], encoding_format="float")
    equal(answer.data[0].embedding, expected[0])
    answer = client.embeddings.create(model="minilm", input=TEXTS[0], dimensions=64)
    equal(answer.data[0].embedding, server.embed(TEXTS[0], dimensions=64)[0])
    _, tokens = server.request("/tokenize", {"inputs": TEXTS})
    ids = [[token["id"] for token in text] for text in tokens]
    answer = client.embeddings.create(model="minilm", input=ids)
    close([data.embedding for data in answer.data], expected)
    answer = client.embeddings.create(model="minilm", input=ids[0])
    close(answer.data[0].embedding, expected[0])


def openai_lists(server):
    client = openai_client(server)
    assert {model.id for model in client.models.list()} == {"minilm", "bert"}
    assert client.models.retrieve("bert").id == "bert"


def openai_raises(server):
    client = openai_client(server, max_retries=0)
    embed = client.embeddings.create
    error = raises(openai.NotFoundError, lambda: embed(model="text-embedding-3-small", input="a"))
    assert error.code == "model_not_found" and error.param == "model", error.body
    assert "minilm" in error.message
    raises(openai.NotFoundError, lambda: client.models.retrieve("other"))
    error = raises(openai.UnprocessableEntityError, lambda: embed(model="minilm", input=["a", ""]))
    assert error.param == "input[1]" and error.type == "invalid_request_error", error.body
    error = raises(
        openai.BadRequestError, lambda: client.post("/embeddings", content=b"{", cast_to=object)
    )
    assert error.code == "invalid_json", error.body


def openai_retries(server):
    large = "a" * 180_000
    upload = Upload(server, 160_000)
    once = openai_client(server, max_retries=0)
    # Until the upload's bytes have arrived, there is room.
    while True:
        try:
            once.embeddings.create(model="minilm", input=large)
        except openai.RateLimitError as error:
            assert error.code == "rate_limit_exceeded", error.body
            assert error.response.headers["retry-after"] == "1"
            break
    refused = []

    def on_response(response):
        if response.status_code == 429:
            refused.append(time.monotonic())
            upload.let_go()

    http_client = httpx.Client(event_hooks={"response": [on_response]}, trust_env=False)
    patient = openai_client(server, max_retries=5, http_client=http_client)
    answer = patient.embeddings.create(model="minilm", input=large)
    assert len(answer.data[0].embedding) == 384
    # By itself the client comes back after half a second.
    assert refused and time.monotonic() - refused[0] >= 1.0


def langchain_embeds(server):
    # Else it would cut texts into the tokens of OpenAI's own models.
    embeddings = OpenAIEmbeddings(
        model="minilm", base_url=f"{server.url}/v1", api_key="none", check_embedding_ctx_length=False
    )
    expected = server.embed(*TEXTS)
    equal(embeddings.embed_documents(TEXTS), expected)
    equal(embeddings.embed_query(TEXTS[0]), server.embed(TEXTS[0])[0])


def llama_index_embeds(server):
    embeddings = TextEmbeddingsInference(model_name="minilm", base_url=server.url)
    equal(embeddings.get_text_embedding_batch(TEXTS), server.embed(*TEXTS))
    equal(embeddings.get_query_embedding(TEXTS[0]), server.embed(TEXTS[0])[0])


def hugging_face_embeds(server):
    client = InferenceClient(model=server.url)
    equal(client.feature_extraction(TEXTS[0]), server.embed(TEXTS[0]))
    answer = client.feature_extraction(TEXTS, normalize=True, truncate=True, truncation_direction="left")
    equal(answer, server.embed(*TEXTS))


def hugging_face_compares(server):
    client = InferenceClient(model=server.url)
    embeddings = np.asarray(server.embed(TEXTS[0], *TEXTS))
    close(client.sentence_similarity(TEXTS[0], TEXTS), embeddings[1:] @ embeddings[0])


def classified(server, task):
    _, answer = server.request("/classify", {"inputs": TEXTS, "tasks": [task]})
    return [[(it["label"], it["score"]) for it in row[task]["scores"]] for row in answer["results"]]


def hugging_face_classifies(server):
    client = InferenceClient(model=f"{server.url}/heads/topic/predict")
    scores = [(it.label, it.score) for it in client.text_classification(TEXTS[0])]
    assert scores == classified(server, "topic")[0], scores
    assert len(client.text_classification(TEXTS[0], top_k=2)) == 2


def tei_embeds(server):
    client = tei_client.HttpClient(server.url)
    assert client.health() and client.info().server_model_id == "minilm"
    equal(client.embed(TEXTS), server.embed(*TEXTS))
    tokens = [it.get_ids() for it in client.tokenize(TEXTS)]
    assert client.decode(tokens[0]) == [TEXTS[0].lower()], client.decode(tokens[0])
    states = client.embed_all(TEXTS)
    assert [len(it) for it in states] == [len(it) for it in tokens], states
    means = np.asarray([np.mean(it, axis=0) for it in states])
    close(means / np.linalg.norm(means, axis=1, keepdims=True), server.embed(*TEXTS))


def tei_classifies(server):
    client = tei_client.HttpClient(f"{server.url}/heads/topic")
    scores = [[(it.label, it.score) for it in result.scores] for result in client.classify(TEXTS)]
    assert scores == classified(server, "topic"), scores


def infinity_embeds(server):
    client = infinity_client.Client(base_url=server.url, raise_on_unexpected_status=True)
    assert infinity_health.sync(client=client) is not None
    models = infinity_models.sync(client=client)
    assert [model.id for model in models.data] == ["bert", "minilm"]
    answer = infinity_embeddings.sync(client=client, body=OpenAIEmbeddingInputText(input_=TEXTS))
    equal([data.embedding for data in answer.data], server.embed(*TEXTS))
    assert answer.usage.prompt_tokens > 12


def cohere_embeds(server):
    client = cohere.ClientV2(api_key="none", base_url=server.url)
    answer = client.embed(
        model="minilm", texts=TEXTS, input_type="search_document", embedding_types=["float", "ubinary"]
    )
    expected = np.asarray(server.embed(*TEXTS), dtype="float32")
    equal(answer.embeddings.float_, expected)
    assert (np.asarray(answer.embeddings.ubinary) == np.packbits(expected > 0, axis=1)).all()
    call = lambda: client.embed(model="other", texts=TEXTS, input_type="search_query")
    error = raises(cohere.errors.NotFoundError, call)
    assert "minilm" in error.body["message"]


def triton_infers(server):
    client = triton.InferenceServerClient(server.url.removeprefix("http://"))
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("minilm")
    assert client.get_server_metadata()["name"] == "polyhead"
    assert client.get_model_metadata("minilm")["outputs"][0]["shape"] == [-1, 384]
    expected = server.embed(*TEXTS)
    for binary in [True, False]:
        tensor = triton.InferInput("text", [2], "BYTES")
        tensor.set_data_from_numpy(np.array(TEXTS, dtype=object), binary_data=binary)
        wanted = triton.InferRequestedOutput("embedding", binary_data=binary)
        answer = client.infer("minilm", [tensor], outputs=[wanted], request_id="7")
        equal(answer.as_numpy("embedding"), expected)
        assert answer.get_response()["id"] == "7"
    equal(client.infer("minilm", [tensor]).as_numpy("embedding"), expected)
    error = raises(triton.InferenceServerException, lambda: client.infer("other", [tensor]))
    assert "minilm" in str(error), error


def refuses_wrong_keys():
    keys = {"AUTH__KEYS__TEST__KEY": "a-key-of-this-test-and-no-other", "AUTH__KEYS__TEST__SCOPES": '["infer"]'}
    with Server(**keys) as server:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="wrong", max_retries=0)
        embed = lambda client: client.embeddings.create(model="minilm", input="a")
        error = raises(openai.AuthenticationError, lambda: embed(client))
        assert error.code == "invalid_api_key", error.body
        embed(client.with_options(api_key=keys["AUTH__KEYS__TEST__KEY"]))


# Client, what is asserted, and the check.
CHECKS = [
    ("openai", "base64 by default, floats, dimensions, lists, token ids: the bits of /embed; usage", openai_embeds),
    ("openai", "models.list(), models.retrieve()", openai_lists),
    ("openai", "NotFoundError, UnprocessableEntityError, BadRequestError, with code and param", openai_raises),
    ("openai", "RateLimitError; with retries it waits for Retry-After and gets its answer", openai_retries),
    ("langchain-openai", "embed_documents, embed_query (check_embedding_ctx_length=False)", langchain_embeds),
    ("llama-index-embeddings-text-embeddings-inference", "a batch, a query", llama_index_embeds),
    ("huggingface-hub", "feature_extraction at the server's address", hugging_face_embeds),
    ("huggingface-hub", "sentence_similarity at the server's address", hugging_face_compares),
    ("huggingface-hub", "text_classification at /heads/{task}/predict, top_k", hugging_face_classifies),
    ("tei-client", "health, info, embed, embed_all (its means are those of embed), tokenize, decode", tei_embeds),
    ("tei-client", "classify at /heads/{task}", tei_classifies),
    ("infinity-client", "health, models, embeddings", infinity_embeds),
    ("cohere", "ClientV2.embed: float and ubinary; NotFoundError", cohere_embeds),
    ("tritonclient", "live, ready, metadata; infer with binary and JSON tensors; errors", triton_infers),
]
WITH_LIMITS = [openai_retries]
