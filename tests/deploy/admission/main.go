// What an API server would do with pods: its own packages for admission policies and for pod security, without a server.
//
// It reads {"policies": [...], "pods": [...]} and prints one outcome per pod.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log"
	"os"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/admission"
	"k8s.io/apiserver/pkg/admission/initializer"
	"k8s.io/apiserver/pkg/admission/plugin/policy/mutating"
	"k8s.io/apiserver/pkg/admission/plugin/policy/validating"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/util/compatibility"
	"k8s.io/apiserver/pkg/util/feature"
	"k8s.io/client-go/discovery"
	dynamic "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/openapi"
	"k8s.io/client-go/openapi/openapitest"
	podsecurity "k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/policy"
	"sigs.k8s.io/yaml"
)

const namespace = "miners"

type question struct {
	Policies []json.RawMessage `json:"policies"`
	Pods     []json.RawMessage `json:"pods"`
}

// Of one pod: how it would be stored, why it would not, and what enforce=restricted would say of it.
type outcome struct {
	Pod       *corev1.Pod `json:"pod,omitempty"`
	Rejected  string      `json:"rejected,omitempty"`
	Forbidden string      `json:"forbidden,omitempty"`
}

func main() {
	log.SetFlags(0)
	var asked question
	must(json.NewDecoder(os.Stdin).Decode(&asked))
	objects := []runtime.Object{&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}}
	for _, text := range asked.Policies {
		object, _, err := scheme.Codecs.UniversalDeserializer().Decode(text, nil, nil)
		must(err)
		objects = append(objects, withDefaults(object))
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	mutate, validate := plugins(ctx, objects)
	restricted, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	must(err)
	level := podsecurity.LevelVersion{Level: podsecurity.LevelRestricted, Version: podsecurity.LatestVersion()}
	outcomes := []outcome{}
	for _, text := range asked.Pods {
		pod := &corev1.Pod{}
		must(yaml.UnmarshalStrict(text, pod))
		attributes := creation(pod)
		interfaces := admission.NewObjectInterfacesFromScheme(scheme.Scheme)
		var said outcome
		err := mutate.Admit(ctx, attributes, interfaces)
		if err == nil {
			err = validate.Validate(ctx, attributes, interfaces)
		}
		if err != nil {
			said.Rejected = err.Error()
		} else {
			said.Pod = pod
			pod.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
			results := restricted.EvaluatePod(level, &pod.ObjectMeta, &pod.Spec)
			if all := policy.AggregateCheckResults(results); !all.Allowed {
				said.Forbidden = all.ForbiddenDetail()
			}
		}
		outcomes = append(outcomes, said)
	}
	must(json.NewEncoder(os.Stdout).Encode(outcomes))
}

func must(err error) {
	if err != nil {
		log.Fatalf("admission: %v", err)
	}
}

// The request that makes a pod.
func creation(pod *corev1.Pod) admission.Attributes {
	pod.Namespace = namespace
	kind := corev1.SchemeGroupVersion.WithKind("Pod")
	resource := corev1.SchemeGroupVersion.WithResource("pods")
	return admission.NewAttributesRecord(pod, nil, kind, namespace, pod.Name, resource, "", admission.Create,
		&metav1.CreateOptions{}, false, &user.DefaultInfo{Name: "replicaset-controller"})
}

// What the API server fills in when a policy is stored.
func withDefaults(object runtime.Object) runtime.Object {
	var match *admissionv1.MatchResources
	switch it := object.(type) {
	case *admissionv1.MutatingAdmissionPolicy:
		match = it.Spec.MatchConstraints
	case *admissionv1.ValidatingAdmissionPolicy:
		match = it.Spec.MatchConstraints
	default:
		return object
	}
	equivalent, everywhere := admissionv1.Equivalent, admissionv1.AllScopes
	match.MatchPolicy = &equivalent
	match.NamespaceSelector = &metav1.LabelSelector{}
	for i := range match.ResourceRules {
		match.ResourceRules[i].Scope = &everywhere
	}
	return object
}

// The API server's two plugins, with clients that have these objects and the schemas that Kubernetes publishes.
func plugins(ctx context.Context, objects []runtime.Object) (*mutating.Plugin, *validating.Plugin) {
	mutate, err := mutating.NewPlugin(nil)
	must(err)
	validate, err := validating.NewPlugin(nil)
	must(err)
	client := clientset{fake.NewClientset(objects...)}
	factory := informers.NewSharedInformerFactory(client, 0)
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	initialize := initializer.New(client, dynamic.NewSimpleDynamicClient(scheme.Scheme), factory, authorizerfactory.NewAlwaysAllowAuthorizer(),
		feature.DefaultFeatureGate, compatibility.DefaultBuildEffectiveVersion(), ctx.Done(), mapper)
	for _, plugin := range []admission.Interface{mutate, validate} {
		initialize.Initialize(plugin)
	}
	mutate.SetEnabled(true)
	validate.SetEnabled(true)
	must(mutate.ValidateInitialization())
	must(validate.ValidateInitialization())
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	if !mutate.WaitForReady() || !validate.WaitForReady() {
		must(errors.New("the policies were not read"))
	}
	return mutate, validate
}

// As a client of a real server, which can be asked for its schemas.
type clientset struct{ *fake.Clientset }

func (it clientset) Discovery() discovery.DiscoveryInterfaces {
	return schemas{it.Clientset.Discovery()}
}

type schemas struct{ discovery.DiscoveryInterfaces }

func (schemas) OpenAPIV3() openapi.Client { return openapitest.NewEmbeddedFileClient() }
