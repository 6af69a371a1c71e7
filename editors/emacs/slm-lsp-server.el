;;; slm-lsp-server.el --- The connection to slm-lsp's server  -*- lexical-binding: t; -*-

;; SPDX-License-Identifier: MIT

;;; Commentary:

;; Owns the process `slm-lsp serve' of this Emacs: its start, what it says of
;; itself, and that it comes back when it ends unasked.  One process serves all
;; buffers, beside whatever Eglot or lsp-mode run for them.
;;
;; Invariant: nothing here waits for the server, but the end of Emacs (at most
;; half a second).

;;; Code:

(require 'cl-lib)
(require 'eieio)
(require 'jsonrpc)
(require 'subr-x)
(require 'url-util)

(defgroup slm-lsp nil
  "Code completion from a small language model on your own processor."
  :group 'tools
  :prefix "slm-lsp-")

(defcustom slm-lsp-command '("slm-lsp" "serve")
  "Program and arguments that start the server."
  :type '(repeat string))

(defcustom slm-lsp-initialization-options nil
  "Settings that the server is given at its start, a property list.
For example (:model \"/path/to/model.gguf\" :automatic_budget_ms 300)."
  :type 'plist)

(defcustom slm-lsp-max-restarts 5
  "How often in a row the server is started again when it ends by itself.
Each time is waited for twice as long, half a second at first."
  :type 'natnum)

(defvar slm-lsp-steady-seconds 60
  "After so many seconds of life, an end of the server counts as its first.")

(defvar slm-lsp-ready-hook nil
  "Hook that is run when a server is connected.")

(defvar slm-lsp-gone-hook nil
  "Hook that is run when the server has ended.")

(defvar slm-lsp-status-hook nil
  "Hook that is run when the status is another.")

(defvar slm-lsp--connection nil "The running server, or nil.")
(defvar slm-lsp--status nil "What the server said of itself last, a property list.")
(defvar slm-lsp--n-ends 0 "How often in a row the server has ended by itself.")
(defvar slm-lsp--restart-timer nil)
(defvar slm-lsp--folders nil "The workspace folders that the server knows.")
(defvar slm-lsp--old-log "" "What the servers before this one wrote.")

(defclass slm-lsp-connection (jsonrpc-process-connection)
  ((ready :initform nil :accessor slm-lsp-connection-ready
          :documentation "Whether `initialize' was answered.")
   (last-id :initform nil :accessor slm-lsp-connection-last-id
            :documentation "The id of the request that was sent last.")
   (started :initform nil :accessor slm-lsp-connection-started
            :documentation "When it was started."))
  :documentation "A running `slm-lsp serve'.")

;; jsonrpc does not tell the id of a request, and without it none can be cancelled.
(cl-defmethod jsonrpc-connection-send :before
  ((connection slm-lsp-connection) &rest args)
  "Note the id of the request that ARGS send over CONNECTION."
  (when (and (plist-get args :id) (plist-get args :method))
    (setf (slm-lsp-connection-last-id connection) (plist-get args :id))))

;;; Status

(defun slm-lsp--set-status (status)
  "Take STATUS, a property list as docs/protocol.md has it."
  (setq slm-lsp--status status)
  (run-hooks 'slm-lsp-status-hook)
  (force-mode-line-update t))

(defun slm-lsp--failed (format &rest arguments)
  "Say by FORMAT and ARGUMENTS why there is no server."
  (let ((message (apply #'format-message format arguments)))
    (slm-lsp--set-status (list :state "failed" :message message))
    (message "slm-lsp: %s" message)))

;;; Life

(defun slm-lsp--ready-p ()
  "Tell whether there is a server that takes documents and requests."
  (and slm-lsp--connection
       (slm-lsp-connection-ready slm-lsp--connection)
       (jsonrpc-running-p slm-lsp--connection)))

(defun slm-lsp--ensure (root)
  "Start the server if there is none, and let it know of the folder ROOT."
  (cond (slm-lsp--connection (slm-lsp--add-folder root))
        ;; It comes back by itself, or was given up until `slm-lsp-restart'.
        ((or slm-lsp--restart-timer (> slm-lsp--n-ends slm-lsp-max-restarts)))
        (t (slm-lsp--start root))))

(defun slm-lsp--start (root)
  "Start the server in the folder ROOT; it is ready some time later."
  (let ((program (car slm-lsp-command))
        (default-directory (if (file-directory-p root) root default-directory)))
    (if (not (executable-find program))
        (slm-lsp--failed "No program `%s': install slm-lsp and set `slm-lsp-command' to it"
                         program)
      (cl-pushnew root slm-lsp--folders :test #'equal)
      (slm-lsp--set-status (list :state "loading" :message "The server is starting"))
      (condition-case problem
          (progn
            (setq slm-lsp--connection (slm-lsp--connect))
            (setf (slm-lsp-connection-started slm-lsp--connection) (float-time)))
        (error (slm-lsp--failed "The server did not start: %s" (error-message-string problem))))
      (when slm-lsp--connection
        (run-at-time 0.5 nil #'slm-lsp--look-after slm-lsp--connection)
        (with-demoted-errors "slm-lsp: %S"
          (slm-lsp--initialize slm-lsp--connection))))))

(defun slm-lsp--look-after (connection)
  "Notice that the server behind CONNECTION ended at once.
Emacs does not always tell that of a process that ends while it is started."
  (unless (jsonrpc-running-p connection)
    (slm-lsp--on-end connection)))

(defun slm-lsp--connect ()
  "Start the process, and connect to it."
  (apply #'make-instance 'slm-lsp-connection
         :name "slm-lsp"
         :request-dispatcher #'slm-lsp--on-request
         :notification-dispatcher #'slm-lsp--on-notification
         :on-shutdown #'slm-lsp--on-end
         :process (lambda ()
                    (make-process :name "slm-lsp"
                                  :command slm-lsp-command
                                  :connection-type 'pipe
                                  :coding 'utf-8-emacs-unix
                                  :noquery t
                                  ;; jsonrpc counts on this very name.
                                  :stderr (get-buffer-create "*slm-lsp stderr*")))
         ;; Pretty-printing each message would cost more than the message.
         (if (slot-exists-p (find-class 'jsonrpc-connection) '-events-buffer-config)
             '(:events-buffer-config (:size 0 :format full))
           '(:events-buffer-scrollback-size 0))))

(defun slm-lsp--initialize (connection)
  "Introduce this Emacs to the server behind CONNECTION."
  (jsonrpc-async-request
   connection :initialize
   (list :processId (emacs-pid)
         :clientInfo (list :name "slm-lsp.el" :version emacs-version)
         :rootUri (slm-lsp--path-to-uri (car slm-lsp--folders))
         :workspaceFolders (vconcat (mapcar #'slm-lsp--folder slm-lsp--folders))
         :initializationOptions (or slm-lsp-initialization-options (make-hash-table))
         :capabilities
         '(:general (:positionEncodings ["utf-16"])
           :workspace (:workspaceFolders t)
           :textDocument (:synchronization (:didSave t) :inlineCompletion (:dynamicRegistration :json-false))
           :experimental (:slmLspStatus t)))
   :timeout nil
   :success-fn
   (lambda (_result)
     (when (eq connection slm-lsp--connection)
       (setf (slm-lsp-connection-ready connection) t)
       (jsonrpc-notify connection :initialized (make-hash-table))
       (slm-lsp--command "slm-lsp.status" nil
                         (lambda (status)
                           (when (eq connection slm-lsp--connection)
                             (slm-lsp--set-status status)))
                         ;; A server that does not tell is as good as ready.
                         (lambda (_) (slm-lsp--set-status '(:state "ready"))))
       (run-hooks 'slm-lsp-ready-hook)))
   :error-fn
   (lambda (problem)
     (when (and (eq connection slm-lsp--connection) (jsonrpc-running-p connection))
       (slm-lsp--failed "The server refuses to start: %s" (plist-get problem :message))))))

(defun slm-lsp--log-of (connection)
  "What the server behind CONNECTION wrote to its standard error."
  (let ((buffer (and connection (jsonrpc-stderr-buffer connection))))
    (if (buffer-live-p buffer) (with-current-buffer buffer (buffer-string)) "")))

(defun slm-lsp--on-end (connection)
  "Start the server again, some time after CONNECTION's ended by itself."
  (when (eq connection slm-lsp--connection)
    (setq slm-lsp--connection nil
          slm-lsp--old-log (concat slm-lsp--old-log (slm-lsp--log-of connection)))
    (when (> (- (float-time) (slm-lsp-connection-started connection)) slm-lsp-steady-seconds)
      (setq slm-lsp--n-ends 0))
    (cl-incf slm-lsp--n-ends)
    (run-hooks 'slm-lsp-gone-hook)
    (if (> slm-lsp--n-ends slm-lsp-max-restarts)
        (slm-lsp--failed "The server ended %d times; see `M-x slm-lsp-log', then `M-x slm-lsp-restart'"
                         slm-lsp--n-ends)
      (let ((delay (* 0.25 (expt 2 slm-lsp--n-ends))))
        (slm-lsp--set-status
         (list :state "loading" :message (format "The server ended; it starts again in %s s" delay)))
        (setq slm-lsp--restart-timer (run-at-time delay nil #'slm-lsp--restart-now))))))

(defun slm-lsp--restart-now ()
  "Start the server again in the folder it was in first."
  (when slm-lsp--restart-timer
    (cancel-timer slm-lsp--restart-timer))
  (setq slm-lsp--restart-timer nil)
  (slm-lsp--start (or (car slm-lsp--folders) default-directory)))

(defun slm-lsp--stop (&optional patience-s)
  "End the server, waiting PATIENCE-S seconds at most for its goodbye."
  (let ((connection slm-lsp--connection))
    (when slm-lsp--restart-timer
      (cancel-timer slm-lsp--restart-timer))
    (setq slm-lsp--connection nil slm-lsp--restart-timer nil slm-lsp--n-ends 0)
    (when (and connection (jsonrpc-running-p connection))
      (setq slm-lsp--old-log (concat slm-lsp--old-log (slm-lsp--log-of connection)))
      (ignore-errors
        (if patience-s
            (jsonrpc-request connection :shutdown nil :timeout patience-s)
          (jsonrpc-async-request connection :shutdown nil :timeout nil))
        (jsonrpc-notify connection :exit nil))
      (run-at-time 2 nil #'slm-lsp--kill connection)
      (run-hooks 'slm-lsp-gone-hook))))

(defun slm-lsp--kill (connection)
  "End the process behind CONNECTION, which was asked to end itself."
  (when (jsonrpc-running-p connection)
    (jsonrpc-shutdown connection)))

(defun slm-lsp--say-goodbye ()
  "End the server with Emacs."
  (slm-lsp--stop 0.5))

(add-hook 'kill-emacs-hook #'slm-lsp--say-goodbye)

;;; Messages

(defun slm-lsp--request (method params on-result &optional on-error)
  "Ask for METHOD with PARAMS, and return the request's id without waiting.
Call ON-RESULT with the answer, or ON-ERROR with the error."
  (jsonrpc-async-request slm-lsp--connection method params
                         :timeout nil
                         :success-fn on-result
                         :error-fn (or on-error #'ignore))
  (slm-lsp-connection-last-id slm-lsp--connection))

(defun slm-lsp--notify (method params)
  "Tell the server METHOD with PARAMS, if there is one."
  (when (slm-lsp--ready-p)
    (jsonrpc-notify slm-lsp--connection method params)))

(defun slm-lsp--cancel (id)
  "Give up the request with ID."
  (slm-lsp--notify :$/cancelRequest (list :id id)))

(defun slm-lsp--command (command arguments on-result &optional on-error)
  "Let the server run COMMAND with the list ARGUMENTS.
Call ON-RESULT with the answer, or ON-ERROR with the error."
  (if (slm-lsp--ready-p)
      (slm-lsp--request :workspace/executeCommand
                        (list :command command :arguments (vconcat arguments))
                        on-result
                        (or on-error
                            (lambda (problem)
                              (message "slm-lsp: %s" (plist-get problem :message)))))
    (user-error "No server of slm-lsp is running: %s"
                (or (plist-get slm-lsp--status :message) "turn on `slm-lsp-mode' in a buffer"))))

(defun slm-lsp--on-request (_connection _method _params)
  "Answer the server's requests: there is nothing that it may ask for."
  (jsonrpc-error :code -32601 :message "Method not found"))

(defun slm-lsp--on-notification (connection method params)
  "Take the notification METHOD with PARAMS of the server behind CONNECTION."
  ;; One that was ended may still have something to say.
  (when (eq connection slm-lsp--connection)
    (pcase method
      ('slm-lsp/status (slm-lsp--set-status params))
      ('window/showMessage (message "%s" (plist-get params :message))))))

;;; Folders

(defun slm-lsp--path-to-uri (path)
  "Return the URI of the file or folder PATH."
  (concat "file://" (if (eq system-type 'windows-nt) "/")
          (url-hexify-string (directory-file-name (expand-file-name path))
                             (append '(?/ ?:) url-unreserved-chars))))

(defun slm-lsp--folder (path)
  "Return the workspace folder PATH as LSP has it."
  (list :uri (slm-lsp--path-to-uri path)
        :name (file-name-nondirectory (directory-file-name path))))

(defun slm-lsp--add-folder (root)
  "Let the server know of the folder ROOT."
  (unless (member root slm-lsp--folders)
    (setq slm-lsp--folders (append slm-lsp--folders (list root)))
    (slm-lsp--notify :workspace/didChangeWorkspaceFolders
                     (list :event (list :added (vector (slm-lsp--folder root)) :removed [])))))

(provide 'slm-lsp-server)
;;; slm-lsp-server.el ends here
